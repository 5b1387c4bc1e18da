/*
 * A library that looks like nvCOMP 6 and works on the host: what it makes of pages are zstd frames of raw blocks. For
 * tests; each builds one that is as it needs it:
 *
 *     -DVERSION=n   another version, as nvcomp/version.h has the number
 *     -DLACKS       without the function that compresses
 *     -DREFUSES     which compresses nothing
 *     -DSPOILS      which says of every batch's last page that it could not be compressed
 *
 * The prototypes are those of nvcomp/zstd.h: with that included before (-include nvcomp.h) the compiler compares them.
 */
#include <stdint.h>
#include <string.h>

#ifndef NVCOMP_ZSTD_H
typedef int nvcompStatus_t;
typedef struct CUstream_st *cudaStream_t;
typedef struct { char reserved[64]; } nvcompBatchedZstdCompressOpts_t;
typedef struct { uint32_t version, cudart_version; } nvcompProperties_t;
typedef struct { size_t input, output, temp; } nvcompAlignmentRequirements_t;
#endif

#ifndef VERSION
#define VERSION 6000
#endif

enum { SUCCESS = 0, INVALID = 10, CANNOT_COMPRESS = 19, BLOCK = 1 << 17, TEMPORARY = 1000 };

nvcompStatus_t nvcompGetProperties(nvcompProperties_t *properties)
{
    properties->version = VERSION;
    return SUCCESS;
}

const char *nvcompGetStatusString(nvcompStatus_t status)
{
    return status == INVALID ? "invalid" : "cannot compress";
}

static int zeros(nvcompBatchedZstdCompressOpts_t opts)
{
    for (size_t i = 0; i < sizeof opts.reserved; i++)
        if (opts.reserved[i])
            return 0;
    return 1;
}

nvcompStatus_t nvcompBatchedZstdCompressGetRequiredAlignments(
    nvcompBatchedZstdCompressOpts_t opts, nvcompAlignmentRequirements_t *found)
{
    found->input = 4;
    found->output = found->temp = 1;
    return zeros(opts) ? SUCCESS : INVALID;
}

nvcompStatus_t nvcompBatchedZstdCompressGetTempSize(
    size_t count, size_t longest, nvcompBatchedZstdCompressOpts_t opts, size_t *bytes, size_t total, cudaStream_t stream)
{
    *bytes = total + TEMPORARY;
    return zeros(opts) && longest <= total && total <= count * longest && !stream ? SUCCESS : INVALID;
}

nvcompStatus_t nvcompBatchedZstdCompressGetMaxOutputChunkSize(
    size_t longest, nvcompBatchedZstdCompressOpts_t opts, size_t *bytes)
{
    *bytes = longest + 9 + 3 * (longest / BLOCK + 1);
    return zeros(opts) ? SUCCESS : INVALID;
}

#ifndef LACKS
static size_t put_frame(unsigned char *to, const unsigned char *from, size_t length)
{
    /* Magic; one segment, its length in four bytes. */
    unsigned char *at = to;
    memcpy(at, "\x28\xb5\x2f\xfd\xa0", 5);
    for (int i = 0; i < 4; i++)
        at[5 + i] = (unsigned char) (length >> 8 * i);
    at += 9;
    do {
        size_t part = length < BLOCK ? length : BLOCK;
        uint32_t head = (uint32_t) part << 3 | (part == length);
        for (int i = 0; i < 3; i++)
            *at++ = (unsigned char) (head >> 8 * i);
        memcpy(at, from, part);
        at += part, from += part, length -= part;
    } while (length);
    return (size_t) (at - to);
}

nvcompStatus_t nvcompBatchedZstdCompressAsync(
    const void *const *pages, const size_t *lengths, size_t longest, size_t count, void *temp, size_t temp_bytes,
    void *const *frames, size_t *frame_lengths, nvcompBatchedZstdCompressOpts_t opts, nvcompStatus_t *statuses,
    cudaStream_t stream)
{
    size_t found = 0, total = 0;
#ifdef REFUSES
    return CANNOT_COMPRESS;
#endif
    for (size_t i = 0; i < count; i++) {
        found = lengths[i] > found ? lengths[i] : found;
        total += lengths[i];
        if (lengths[i] && (uintptr_t) pages[i] % 4)
            return INVALID;
    }
    if (found != longest || temp_bytes < total + TEMPORARY || !zeros(opts) || stream)
        return INVALID;
    memset(temp, 0xab, total + TEMPORARY);
    for (size_t i = 0; i < count; i++) {
        frame_lengths[i] = put_frame(frames[i], pages[i], lengths[i]);
        statuses[i] = SUCCESS;
    }
#ifdef SPOILS
    statuses[count - 1] = CANNOT_COMPRESS;
#endif
    return SUCCESS;
}
#endif
