// Generated queries as a program on the host, for tests: see src/gpu/testing/host_query_tests.rs. GENERATED names a file
// with their texts, each in a namespace of its own, and the table QUERIES of them.
//
// Each request on stdin: u32 query, seed, slots, places, room, words of constants, words of the only group; the constants,
// the only group, and each slot: u32 bytes and the decoded output region. Between slots the groups get four times the room.
// Each answer on stdout: for each slot u32 rows, marked rows and the bitmap; then u32 groups and their words.
#include "../query.cuh"
#include "areas.hpp"

struct Query {
    void (*mark)(const u8 *, u8 *);
    void (*aggregate)(const u8 *, u8 *, const u64 *, u32 *, u64 *, u32 *, u32, u32);
    void (*enter)(u32 *, u64 *, u32 *, u32);
    u32 stride;
};

#include GENERATED

namespace {

struct Room {
    Area index, words;
    u32 places, room;
};

Room make_room(u32 places, u32 room, u32 stride) {
    Room made{area(4 * size_t(places)), area(8 * size_t(room) * stride), places, room};
    std::memset(made.index.get(), 0, 4 * size_t(places));
    return made;
}

u32 *words32(const Area &area) { return reinterpret_cast<u32 *>(area.get()); }
u64 *words64(const Area &area) { return reinterpret_cast<u64 *>(area.get()); }

void grow(const Query &query, Room &groups, u32 *count, u32 seed) {
    Room larger = make_room(4 * groups.places, 4 * groups.room, query.stride);
    std::memcpy(larger.words.get(), groups.words.get(), 8 * size_t(*count) * query.stride);
    emulate::launch({*count / 256 + 1}, 256, 0, seed, [&] {
        query.enter(words32(larger.index), words64(larger.words), count, larger.places);
    });
    groups = std::move(larger);
}

} // namespace

int main() {
    u32 request[7];
    while (read_all(request, sizeof request)) {
        const auto [number, seed, slots, places, room, constant_words, only_words] = request;
        const Query &query = QUERIES[number];
        const Area constants = area(8 * size_t(constant_words)), count = area(4);
        if (!read_all(constants.get(), 8 * size_t(constant_words))) return 1;
        Room groups = make_room(places, room, query.stride);
        if (!read_all(groups.words.get(), 8 * size_t(only_words))) return 1;
        *words32(count) = only_words != 0;
        for (u32 slot = 0; slot < slots; slot++) {
            if (slot > 0 && only_words == 0) grow(query, groups, words32(count), seed);
            u32 bytes;
            if (!read_all(&bytes, 4)) return 1;
            const Area output = area(bytes);
            if (!read_all(output.get(), bytes)) return 1;
            const u32 rows = reinterpret_cast<const OutHeader *>(output.get())->rows, bitmap = (rows + 31) / 32 * 4;
            const Area head = area(64 + bitmap);
            emulate::launch({}, 256, 0, seed, [&] { query.mark(output.get(), head.get()); });
            if (rows > 0)
                emulate::launch({(rows + 255) / 256}, 256, 0, seed, [&] {
                    query.aggregate(output.get(), head.get(), words64(constants), words32(groups.index),
                                    words64(groups.words), words32(count), groups.places, groups.room);
                });
            write_all(head.get(), 8);
            write_all(head.get() + 64, bitmap);
        }
        const u32 found = *words32(count);
        write_all(&found, 4);
        write_all(groups.words.get(), 8 * size_t(found) * query.stride);
        std::fflush(stdout);
    }
    return 0;
}
