//! Queries' generated text, built for the host with sanitizers, against the CPU's executor, on random plans and rows.

use super::host_program::HostProgram;
use super::host_query_tests_plans::{self as queries, Row};
use super::specimens::Random;
use crate::gpu::cuda::module;
use crate::gpu::cuda::nvrtc::Nvrtc;
use crate::query::cuda::{Generated, Task, generate, read_rows};
use crate::query::{Cursor, Executor, Odd, Rows, Shown, Unfit, Value};

const PLANS: usize = 40;

/// Leaves out the rows that PostgreSQL would evaluate.
struct Skip;

impl Odd for Skip {
    type Error = Unfit;

    fn row(&mut self, _: &Rows, _: usize) -> Result<Option<Vec<Value>>, Unfit> {
        Ok(None)
    }
}

/// Adds some rows, each by itself: where an odd row's place matters, those behind it are none.
fn add(executor: &mut Executor, rows: &[Row], numbers: impl Iterator<Item = usize>) {
    let (cells, arena) = queries::heap(rows);
    let batch = Rows::heap(&cells, &arena);
    numbers.for_each(|row| executor.add(&batch, row..row + 1, &mut Skip).unwrap());
}

fn shown(executor: &Executor) -> Vec<String> {
    let (mut cursor, mut all, mut row) = (Cursor::default(), Vec::new(), Vec::<Shown>::new());
    while cursor.next(executor, &mut row) {
        all.push(format!("{row:?}"));
    }
    all.sort();
    all
}

fn executor(task: &Task) -> Executor {
    Executor::new(task.plan.clone(), usize::MAX).unwrap()
}

/// Has the program compute a query over slots; rows that it marks go to the CPU's executor, as those of a process do.
fn on_host(
    host: &mut HostProgram,
    number: usize,
    task: &Task,
    text: &Generated,
    slots: &[Vec<Row>],
    seed: u32,
) -> Vec<String> {
    let (places, room) = if seed.is_multiple_of(2) { (16, 8) } else { (4096, 2048) };
    let mut request: Vec<u8> = [
        number as u32,
        seed,
        slots.len() as u32,
        places,
        room,
        text.constants.len() as u32,
        text.only.len() as u32,
    ]
    .iter()
    .flat_map(|word| word.to_le_bytes())
    .collect();
    request.extend(text.constants.iter().chain(&text.only).flat_map(|word| word.to_le_bytes()));
    for rows in slots {
        let region = queries::decoded(rows);
        request.extend((region.len() as u32).to_le_bytes());
        request.extend(region);
    }
    host.ask(&request).expect("a program that runs");
    let mut executor = executor(task);
    for rows in slots {
        let head = host.answer_words(2).expect("see above");
        assert_eq!(head[0] as usize, rows.len());
        let bitmap = host.answer_words(rows.len().div_ceil(32)).expect("see above");
        let marked: Vec<usize> =
            (0..rows.len()).filter(|row| bitmap[row / 32] >> (row % 32) & 1 == 1).collect();
        assert_eq!(head[1] as usize, marked.len());
        add(&mut executor, rows, marked.into_iter());
    }
    let groups = host.answer_words(1).expect("see above")[0] as usize;
    let words = host.answer(8 * groups * text.stride).expect("see above");
    let words = words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    read_rows(&mut executor, text, words, || {}).unwrap();
    shown(&executor)
}

/// Returns plans that have a text, and all texts as the program includes them.
fn plans(random: &mut Random) -> (Vec<(Task, Generated)>, String) {
    let (mut plans, mut source, mut table) = (Vec::new(), String::new(), String::new());
    let mut tried = 0;
    while plans.len() < PLANS {
        tried += 1;
        assert!(tried < 20 * PLANS, "hardly a plan has a text");
        let task = queries::task(random);
        let Ok(text) = generate(&task) else { continue };
        let name = format!("query{}", plans.len());
        source += &format!("namespace {name} {{\n{}}}\n", text.text);
        table += &format!("    {{{name}::mark, {name}::aggregate, {name}::enter, {name}::STRIDE}},\n");
        plans.push((task, text));
    }
    (plans, format!("{source}const Query QUERIES[] = {{\n{table}}};\n"))
}

#[test]
fn texts_compute_what_the_executor_does() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random::new(seed);
    let (plans, source) = plans(&mut random);
    let mut host = HostProgram::with_text("query", &source);
    for (number, (task, text)) in plans.iter().enumerate() {
        for round in 0..6 {
            let sizes = random.pick(&[[0, 1], [31, 300], [700, 65], [256, 1]]);
            let slots: Vec<Vec<Row>> = sizes.iter().map(|&size| queries::rows(&mut random, size)).collect();
            let mut reference = executor(task);
            slots.iter().for_each(|rows| add(&mut reference, rows, 0..rows.len()));
            let found = on_host(&mut host, number, task, text, &slots, round);
            assert_eq!(found, shown(&reference), "seed {seed}, {:#?}\n{}", task.plan, text.text);
        }
    }
}

/// Queries that differ in constants alone share a text.
#[test]
fn constants_are_no_part_of_the_text() {
    let mut random = Random::new(7);
    let task = (0..1000).map(|_| queries::task(&mut random)).find(|task| {
        generate(task).is_ok()
            && serde_json::to_string(task).unwrap().contains("{\"Constant\":[\"Int8\",{\"Word\":3}]}")
    });
    let task = task.expect("a plan with a constant");
    let other = serde_json::to_string(&task).unwrap().replace("{\"Word\":3}", "{\"Word\":-77}");
    let (one, other) = (generate(&task).unwrap(), generate(&serde_json::from_str(&other).unwrap()).unwrap());
    assert_eq!(one.text, other.text);
    assert_ne!(one.constants, other.constants);
}

/// NVRTC takes what a C++ compiler takes, for the oldest and a new architecture, and no kernel spills registers.
#[test]
fn texts_compile_for_devices() {
    let Ok(nvrtc) = Nvrtc::open(None) else {
        eprintln!("skipped: no NVRTC");
        return;
    };
    let (plans, _) = plans(&mut Random::new(3));
    for architecture in [75, 90] {
        let mut options = module::options(architecture);
        options.push("--ptxas-options=-v".into());
        for (_, text) in plans.iter().take(8) {
            let (cubin, log) = nvrtc.compile(&module::query(&text.text), &options).unwrap();
            assert!(cubin.starts_with(b"\x7fELF"));
            let spills: Vec<&str> = log.lines().filter(|line| line.contains("spill")).collect();
            let none = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads";
            assert!(
                spills.len() == 3 && spills.iter().all(|line| line.contains(none)),
                "{log}\n{}",
                text.text
            );
        }
    }
}
