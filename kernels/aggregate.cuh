// The kernels of a query. The generated text that includes this file says before what a row and a group are:
//
//     WORDS, COMPARED, STRIDE      words of a key, those that are compared, and words of a group
//     KEYLESS                      all rows are one group, which is there from the beginning
//     Values                       the aggregates' arguments in a row
//     evaluate                     a row to its key and values, or that it is excluded or marked
//     begin_group                  the states of a new group
//     add_row, add_rows            values to a group's states: those of one row, and of some of a warp's
//
// Groups lie one behind the other; the index has their numbers by the hash of their keys. A row that finds no group and no
// room for one is marked, so that no kernel has to wait for a larger table.

constexpr u32 QUERY_ROWS = 256;
// What the index has in places without a group: none, one that is being made, and one for which there was no room.
constexpr u32 EMPTY = 0, LOCKED = ~0u, DEAD = ~0u - 1, NO_GROUP = ~0u;
// Places of the index that are looked at for a key.
constexpr u32 PROBES = 256;
// So many groups of a warp's rows are added to by the warp as a whole.
constexpr u32 TOGETHER = 4;

struct Groups {
    u32 *index;
    u64 *words;
    u32 *count;
    // Places of the index, a power of two, and groups that have room.
    u32 places, room;
};

DEVICE u32 hash_key(const u64 *key) {
    u64 hash = 0x9E3779B97F4A7C15;
    for (u32 i = 0; i < COMPARED; i++) {
        hash = (hash ^ key[i]) * 0xBF58476D1CE4E5B9;
        hash ^= hash >> 32;
    }
    hash *= 0x94D049BB133111EB;
    return static_cast<u32>(hash >> 32);
}

DEVICE bool has_key(const u64 *group, const u64 *key) {
    bool same = true;
    for (u32 i = 0; i < COMPARED; i++) same = same && load_published(group + i) == key[i];
    return same;
}

// The number of a key's group, which is made if it is not there; NO_GROUP without room.
DEVICE u32 find_group(const Groups &groups, const u64 *key) {
    u32 at = hash_key(key) & (groups.places - 1);
    for (u32 probes = 0; probes < PROBES;) {
        u32 found = load_again(groups.index + at);
        if (found == EMPTY) {
            if (load_again(groups.count) >= groups.room) return NO_GROUP;
            found = atomic_swap_if(groups.index + at, EMPTY, LOCKED);
            if (found == EMPTY) {
                const u32 number = atomic_add(groups.count, 1);
                if (number >= groups.room) {
                    atomic_add(groups.count, ~0u);
                    store_published(groups.index + at, DEAD);
                    return NO_GROUP;
                }
                u64 *group = groups.words + u64(number) * STRIDE;
                for (u32 i = 0; i < WORDS; i++) group[i] = key[i];
                begin_group(group);
                publish();
                store_published(groups.index + at, number + 1);
                return number;
            }
        }
        // Another thread is about to write it, perhaps one of this warp.
        if (found == LOCKED) continue;
        if (found != DEAD && has_key(groups.words + u64(found - 1) * STRIDE, key)) return found - 1;
        at = (at + 1) & (groups.places - 1);
        probes++;
    }
    return NO_GROUP;
}

struct Head {
    u32 rows, marked;
};

// Marks the rows that decode left out; one block. With more of them than it could list, all rows.
// registers: 32
KERNEL BOUNDS(256, 1) mark(const u8 *output, u8 *head) {
    const OutHeader &out = *reinterpret_cast<const OutHeader *>(output);
    u32 *marks = reinterpret_cast<u32 *>(head + 64);
    const bool all = out.statuses > STATUSES;
    for (u32 i = thread(); i < (out.rows + 31) / 32; i += QUERY_ROWS) marks[i] = all ? ~0u : 0;
    if (thread() == 0) *reinterpret_cast<Head *>(head) = Head{out.rows, 0};
    block_sync();
    if (all) return;
    const Status *statuses =
        reinterpret_cast<const Status *>(output + sizeof(OutHeader) + out.columns * sizeof(OutColumn));
    for (u32 i = thread(); i < out.statuses; i += QUERY_ROWS) {
        const u32 row = statuses[i].row;
        if (row < out.rows) atomic_or(marks + row / 32, 1u << row % 32);
    }
}

// registers: 128
KERNEL BOUNDS(256, 2) aggregate(const u8 *output, u8 *head, const u64 *constants, u32 *index, u64 *words, u32 *count,
                                u32 places, u32 room) {
    const Groups groups{index, words, count, places, room};
    const u32 rows = reinterpret_cast<const OutHeader *>(output)->rows;
    const u32 row = block_x() * QUERY_ROWS + thread();
    u32 *marks = reinterpret_cast<u32 *>(head + 64);

    // Step 1: the row's values and its group.
    const u32 present = ballot(row < rows);
    if (present == 0) return;
    u32 marked = marks[row / 32];
    u32 found = EXCLUDED, number = NO_GROUP;
    Values values{};
    if (row < rows && (marked >> lane() & 1) == 0) {
        u64 key[WORDS + 1] = {};
        found = evaluate(Source{output, constants}, row, key, values);
        if (found == INCLUDED) {
            number = KEYLESS ? 0 : find_group(groups, key);
            if (number == NO_GROUP) found = MARKED;
        }
    }

    // Step 2: the rows that are left to the process.
    const u32 more = ballot(found == MARKED);
    marked = (marked | more) & present;
    if (lane() == 0 && marked != 0) {
        marks[row / 32] = marked;
        atomic_add(&reinterpret_cast<Head *>(head)->marked, count_bits(marked));
    }

    // Step 3: values to the groups' states. Few groups are added to once for the whole warp.
    const bool included = found == INCLUDED;
    const u32 peers = match(number);
    const bool leads = included && lane() == trailing_zeros(peers);
    u32 leaders = ballot(leads);
    if (count_bits(leaders) > TOGETHER) {
        if (included) add_row(words + u64(number) * STRIDE, values);
        return;
    }
    for (; leaders != 0; leaders &= leaders - 1) {
        const u32 first = trailing_zeros(leaders), of = shuffle(number, first);
        const bool member = included && number == of;
        add_rows(words + u64(of) * STRIDE, values, member, lane() == first);
    }
}

// Enters the groups into a larger index, which is empty.
// registers: 32
KERNEL BOUNDS(256, 2) enter(u32 *index, u64 *words, u32 *count, u32 places) {
    const u32 number = block_x() * QUERY_ROWS + thread();
    if (number >= *count) return;
    u32 at = hash_key(words + u64(number) * STRIDE) & (places - 1);
    while (atomic_swap_if(index + at, EMPTY, number + 1) != EMPTY) at = (at + 1) & (places - 1);
}
