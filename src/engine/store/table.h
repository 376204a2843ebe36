/*
 * The hash table of one partition of one database (private to store/).
 *
 * A table is one segment, or a directory of 2^depth references to segments. A segment is 1 to 64 home buckets of one
 * cache line: eight one-byte tags, eight 48-bit references to items, and a lower bound of the deadlines of the items
 * whose home it is. A full bucket is chained to overflow buckets through its last slot. Items never leave the chain of
 * their home bucket; a segment that fills up is rebuilt one size larger, and the largest splits in two, by itself.
 *
 * A key's 64-bit hash is cut up as: partition, low 14 bits; tag, 8 bits above them; position, top 39 bits. Directory
 * and bucket follow the position's order, so walking them walks positions in ascending order whatever the sizes are.
 *
 * The deadline bounds are the expiry index: they cost nothing beyond the line that holds them, setting an expiry
 * lowers at most four words, and a bound that proves too low is corrected when it comes due. Rejected: a heap of
 * {deadline, hash} per partition (8 bytes a volatile key plus the slack of its array).
 */
#ifndef STORE_TABLE_H
#define STORE_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/store/item.h"

#define TABLE_SLOTS 8
#define TABLE_POSITION_BITS 39
#define TABLE_MAX_DEPTH 24
#define TABLE_SIZES 16
#define DEADLINE_NONE UINT32_MAX

struct bucket {
    uint8_t tags[TABLE_SLOTS]; /* 0: empty slot */
    uint32_t deadline;         /* no item whose home is here expires before it (units of keyspace deadlines) */
    uint32_t chained : 1;      /* slot 7 refers to the next bucket of the chain */
    uint32_t cut : 31;         /* home buckets: the last cut (keyspace.h) that needs nothing of this chain any more */
    uint8_t refs[TABLE_SLOTS][6];
};
_Static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");

/* A segment as its directory sees it, or a whole table that is one segment. word is one of
 *   0                                            empty
 *   address | size index << 48 | depth << 52     a segment that covers 2^-depth of the positions
 *   address | depth << 52 | 1 << 63              (tables only) a directory
 * It is read without the lock for prefetching, hence atomic; what it refers to is touched only under the lock. */
struct segment {
    _Atomic uint64_t word;
    uint32_t deadline; /* lower bound over its buckets; of a table, over its segments */
    uint32_t count;    /* items */
};

struct table {
    struct segment root;
};

#define WORD_ADDRESS ((UINT64_C(1) << 48) - 1)
#define WORD_DIRECTORY (UINT64_C(1) << 63)

extern const uint8_t table_sizes[TABLE_SIZES];

static inline void *word_address(uint64_t word)
{
    return (void *)(uintptr_t)(word & WORD_ADDRESS);
}

static inline unsigned word_size(uint64_t word)
{
    return (unsigned)(word >> 48) & 15;
}

static inline unsigned word_depth(uint64_t word)
{
    return (unsigned)(word >> 52) & 31;
}

static inline uint64_t hash_position(uint64_t hash)
{
    return hash >> (64 - TABLE_POSITION_BITS);
}

static inline uint8_t hash_tag(uint64_t hash)
{
    uint8_t tag = (uint8_t)(hash >> 14);
    return tag ? tag : 1;
}

static inline uint64_t segment_word(const struct segment *s)
{
    return atomic_load_explicit(&((struct segment *)s)->word, memory_order_relaxed);
}

/* Number of the home bucket in a segment of that depth and size. */
static inline unsigned position_bucket(uint64_t position, unsigned depth, unsigned size)
{
    uint64_t inside = (position << depth) & ((UINT64_C(1) << TABLE_POSITION_BITS) - 1);
    return (unsigned)(((inside >> (TABLE_POSITION_BITS - 32)) * table_sizes[size]) >> 32);
}

/* Index in a directory of that depth. */
static inline size_t position_entry(uint64_t position, unsigned dir_depth)
{
    return (size_t)(position >> (TABLE_POSITION_BITS - dir_depth));
}

static inline void *bucket_ref(const struct bucket *b, unsigned slot)
{
    uint64_t v = 0;

    memcpy(&v, b->refs[slot], 6);
    return (void *)(uintptr_t)v;
}

static inline void bucket_set_ref(struct bucket *b, unsigned slot, const void *p)
{
    uint64_t v = (uintptr_t)p;

    memcpy(b->refs[slot], &v, 6);
}

static inline struct bucket *bucket_next(const struct bucket *b)
{
    return b->chained ? bucket_ref(b, TABLE_SLOTS - 1) : NULL;
}

/* A bit (the top one of each byte) for every slot whose tag is `tag`; exact, so that no empty slot is ever followed. */
static inline uint64_t bucket_match(const struct bucket *b, uint8_t tag)
{
    const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t tags, x;

    memcpy(&tags, b->tags, 8);
    x = tags ^ (UINT64_C(0x0101010101010101) * tag);
    return ~(((x & low7) + low7) | x | low7);
}

static inline unsigned match_slot(uint64_t match)
{
    return (unsigned)__builtin_ctzll(match) >> 3;
}

/* The segment of that position, by its canonical reference (the first of those that share it). */
struct segment *table_segment(struct table *t, uint64_t position);

/* The home bucket of that hash, or NULL in an empty table. */
static inline struct bucket *table_home(const struct table *t, uint64_t hash)
{
    uint64_t word = segment_word(&t->root), position = hash_position(hash);

    if (__builtin_expect((word & WORD_DIRECTORY) != 0, 0)) {
        const struct segment *dir = word_address(word);
        word = segment_word(&dir[position_entry(position, word_depth(word))]);
    }
    if (word == 0)
        return NULL;
    return (struct bucket *)word_address(word) + position_bucket(position, word_depth(word), word_size(word));
}

/* What a table needs of its database when a segment is rebuilt. */
struct table_owner {
    /* The hash of an item's key. */
    uint64_t (*rehash)(const struct table_owner *o, const struct item *it);
    /* The buckets of a home are about to be rebuilt: what a snapshot needs of them is to be saved. NULL: none runs. */
    void (*save)(const struct table_owner *o, struct bucket *home);
    uint32_t cut; /* of new buckets */
};

/* Adds an item whose key is not there. */
void table_insert(struct table *t, uint64_t hash, struct item *it, uint32_t deadline, const struct table_owner *o);

/* Gives an empty table room for about n items, so that it need not grow to that in steps. */
void table_reserve(struct table *t, uint64_t n, const struct table_owner *o);

/* Takes out what stands in that slot of the hash's chain. */
void table_remove(struct table *t, uint64_t hash, struct bucket *b, unsigned slot, const struct table_owner *o);

/* Rebuilds the segment at that position at a smaller size if its items fit one with room to spare. */
void table_trim(struct table *t, uint64_t position, const struct table_owner *o);

/* Lowers the bounds on the way to the hash's bucket. Returns whether the table's own became lower. */
bool table_note_deadline(struct table *t, uint64_t hash, uint32_t deadline);

/* Calls fn for each segment in order of position; fn may be NULL-safe only. Returns the number of segments. */
typedef void table_segment_fn(void *arg, struct segment *s);
void table_each_segment(struct table *t, table_segment_fn *fn, void *arg);

/* Number of home buckets of a segment, and its first. */
static inline unsigned segment_buckets(const struct segment *s)
{
    uint64_t word = segment_word(s);
    return word ? table_sizes[word_size(word)] : 0;
}

static inline struct bucket *segment_bucket(const struct segment *s, unsigned i)
{
    return (struct bucket *)word_address(segment_word(s)) + i;
}

/* Frees buckets and directory, not the items. */
void table_free(struct table *t);

/* Bytes of buckets and directory. */
size_t table_memory(const struct table *t);

#endif
