//! The encode kernels, built for the host with sanitizers, for tests: what they make is what the reference makes.

use super::host_program::HostProgram;
use super::reference::{self, Encoded};
use super::specimens::columns::Columns;
use crate::gpu::encode::{
    Body, Bounds, DictionaryChunk, DictionaryState, Ends, Limits, Order, Page, Plan, Shape, plan,
};
use crate::slot::layout::{Plain, get, put};

// SAFETY: `repr(C)`, integers without gaps: gpu/encode.rs asserts its size.
unsafe impl Plain for Body {}
// SAFETY: `repr(C)`, integers without gaps: gpu/encode.rs asserts its size.
unsafe impl Plain for Bounds {}
// SAFETY: `repr(C)`, integers without gaps: gpu/encode.rs asserts its size.
unsafe impl Plain for Page {}
// SAFETY: `repr(C)`, integers without gaps: gpu/encode.rs asserts its size.
unsafe impl Plain for DictionaryChunk {}
// SAFETY: `repr(C)`, integers without gaps: gpu/encode.rs asserts its size.
unsafe impl Plain for DictionaryState {}

/// A page as the kernels made it.
pub(super) struct Made {
    pub page: Page,
    pub bounds: Bounds,
    pub nulls: u32,
    pub body: Vec<u8>,
}

/// A dictionary as the kernels made it.
pub(super) struct Entries {
    pub chunk: DictionaryChunk,
    pub state: DictionaryState,
    pub body: Vec<u8>,
}

fn put_all<T: Plain>(request: &mut Vec<u8>, values: &[T]) {
    let at = request.len();
    request.resize(at + size_of_val(values), 0);
    for (number, value) in values.iter().enumerate() {
        assert!(put(request, at + number * size_of::<T>(), *value));
    }
}

fn take_all<T: Plain>(host: &mut HostProgram, count: usize) -> Vec<T> {
    let bytes = host.answer(count * size_of::<T>()).expect("an answer: see above");
    (0..count).filter_map(|number| get(&bytes, number * size_of::<T>())).collect()
}

pub(super) fn encode(
    host: &mut HostProgram,
    columns: &Columns,
    page_rows: u32,
    limits: Limits,
    seed: u32,
) -> (Vec<Made>, Vec<Entries>) {
    let plan = plan(&columns.columns, |_| page_rows, limits);
    let Encoded { bodies, nulls, bounds, states, .. } = run(host, &columns.input, &plan, seed);
    let made = plan.pages.iter().zip(&bodies).enumerate().map(|(number, (&page, body))| Made {
        page,
        bounds: bounds[number],
        nulls: nulls[number],
        body: body.clone(),
    });
    let entries = plan.chunks.iter().zip(&bodies[plan.pages.len()..]).zip(states);
    let entries = entries.map(|((&chunk, body), state)| Entries { chunk, state, body: body.clone() });
    (made.collect(), entries.collect())
}

/// Returns what the program makes of a plan, after a comparison with the reference.
fn run(host: &mut HostProgram, input: &[u8], plan: &Plan, seed: u32) -> Encoded {
    let sizes = [
        plan.pages.len() as u32,
        plan.chunks.len() as u32,
        input.len() as u32,
        plan.output_bytes as u32,
        plan.scratch_bytes as u32,
        seed,
    ];
    let mut request: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
    put_all(&mut request, &plan.pages);
    put_all(&mut request, &plan.chunks);
    request.extend(input);
    host.ask(&request).expect("a program that reads");
    let bodies: Vec<Body> = take_all(host, plan.pages.len() + plan.chunks.len());
    let bounds: Vec<Bounds> = take_all(host, plan.pages.len());
    let ends: Vec<Ends> = take_all(host, plan.pages.len());
    let states: Vec<DictionaryState> = take_all(host, plan.chunks.len());
    let mut end = 0;
    for body in bodies.iter().filter(|body| body.bytes > 0) {
        assert!(body.at >= end && body.at.is_multiple_of(16), "bodies that meet");
        end = body.at + u64::from(body.bytes);
    }
    assert!(end <= plan.output_bytes, "a body behind the output's end");
    for (state, body) in states.iter().zip(&bodies[plan.pages.len()..]) {
        assert_eq!(body.nulls, if state.used != 0 { state.entries } else { 0 });
    }
    let has_ends = |page: &Page, bounds: &Bounds| {
        (page.shape, page.order) == (Shape::Strings as u8, Order::Unsigned as u8) && bounds.values > 0
    };
    let made = Encoded {
        nulls: bodies[..plan.pages.len()].iter().map(|body| body.nulls).collect(),
        ends: plan
            .pages
            .iter()
            .zip(&bounds)
            .zip(ends)
            .map(|((p, b), ends)| has_ends(p, b).then_some(ends))
            .collect(),
        bodies: bodies.iter().map(|body| host.answer(body.bytes as usize).expect("a body")).collect(),
        bounds,
        states,
    };
    let mut expected = reference::encode(input, plan);
    for (made, expected) in made.states.iter().zip(&mut expected.states) {
        // The state of a dictionary that is given up depends on the threads' order.
        if (made.failed, made.used) == (expected.failed, 0) && expected.used == 0 {
            *expected = *made;
        }
    }
    for (number, (made, expected)) in made.bodies.iter().zip(&expected.bodies).enumerate() {
        assert!(made == expected, "body {number}, {:?}", plan.pages.get(number));
    }
    assert_eq!(made, expected);
    made
}
