/*
 * Finding a command by its name, and the keys among its arguments.
 *
 * command_find runs once for every command that a client sends. The names are hashed perfectly: the generator found a
 * multiplier and small displacements under which no two of them share a slot, so one slot is looked at and one
 * comparison decides. Both work on the name as two words that overlap as needed, which reads any name of up to 16 bytes
 * without a loop and without reaching beyond it. A trie and a switch over the length were rejected: more branches, each
 * of them mispredicted when commands alternate.
 */
#include "engine/cmd/command.h"

#include <endian.h>
#include <stddef.h>
#include <string.h>

#include "base/num.h"
#include "engine/cmd/command_slots.h"

#define WORDS_MAX 16                           /* bytes of a name that name_words covers */
#define FOLD_CASE UINT64_C(0x2020202020202020) /* folds more than letters, which a hash may */

static uint64_t load_8(const char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static uint64_t load_4(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

/* The first and the last bytes of a name that is not empty: 8 and 8, else 4 and 4, else all three at most in head. */
static void name_words(struct view name, uint64_t *head, uint64_t *tail)
{
    const unsigned char *u = (const unsigned char *)name.p;

    if (name.n >= 8) {
        *head = load_8(name.p);
        *tail = load_8(name.p + name.n - 8);
    } else if (name.n >= 4) {
        *head = load_4(name.p);
        *tail = load_4(name.p + name.n - 4);
    } else {
        *head = (uint64_t)u[0] | (uint64_t)u[name.n / 2] << 8 | (uint64_t)u[name.n - 1] << 16;
        *tail = 0;
    }
}

static uint64_t name_hash(uint64_t head, uint64_t tail, size_t n)
{
    tail |= FOLD_CASE;
    return (((head | FOLD_CASE) ^ (tail << 29 | tail >> 35)) + n) * command_slots.seed;
}

const struct command *command_find(struct view name)
{
    const struct command_slot *slot;
    uint64_t head, tail, hash;

    if (name.n == 0)
        return NULL;
    name_words(name, &head, &tail);
    hash = name_hash(head, tail, name.n);
    slot = &command_slots
                .slots[((hash >> 32) + command_slots.displacements[hash >> command_slots.shift]) & command_slots.mask];
    if (slot->len != name.n || (head | slot->head_letters) != slot->head || (tail | slot->tail_letters) != slot->tail)
        return NULL;
    if (name.n > WORDS_MAX && !view_equal_case(name, view_of(slot->command->name, slot->len)))
        return NULL;
    return slot->command;
}

const struct command *command_find_sub(const struct command *container, struct view name)
{
    size_t skip = (size_t)container->name_len + 1;

    for (unsigned i = 0; i < container->sub_count; i++) {
        const struct command *sub = container->subs[i];

        if (sub->name_len == skip + name.n && view_equal_case(name, view_of(sub->name + skip, name.n)))
            return sub;
    }
    return NULL;
}

/* ---- keys ------------------------------------------------------------------------------------------------------- */

/* Arguments first, first + step, ... up to last. */
struct key_range {
    int first, last, step;
};

enum range_verdict { RANGE_FOUND, RANGE_NONE, RANGE_BAD };

/* Where the search of a specification begins, 0 when its keyword is not there. */
static int keys_begin(const struct key_spec *spec, const struct view *argv, int argc)
{
    struct view keyword;

    if (spec->begin == KEYS_AT_INDEX)
        return spec->index;
    keyword = view_str(spec->keyword);
    if (spec->start_from > 0) {
        for (int i = spec->start_from; i < argc - 1; i++)
            if (view_equal_case(argv[i], keyword))
                return i + 1;
    } else {
        for (int i = argc + spec->start_from; i > 0; i--)
            if (view_equal_case(argv[i], keyword))
                return i + 1;
    }
    return 0;
}

/* The keys of a specification that counts them. A count of zero is for those commands that may do without keys. */
static enum range_verdict keys_counted(const struct command *cmd, const struct key_spec *spec, const struct view *argv,
                                       int argc, struct key_range *r)
{
    int64_t count;

    if (r->first + spec->keynum_at >= argc || !num_parse_int(argv[r->first + spec->keynum_at], &count))
        return RANGE_BAD;
    if (count == 0 && (cmd->flags & COMMAND_NO_MANDATORY_KEYS))
        return RANGE_NONE;
    if (count <= 0 || count > argc)
        return RANGE_BAD;
    r->first += spec->first;
    r->step = spec->knstep;
    if ((count - 1) * r->step >= argc - r->first)
        return RANGE_BAD;
    r->last = r->first + (int)(count - 1) * r->step;
    return RANGE_FOUND;
}

static enum range_verdict keys_range(const struct command *cmd, const struct key_spec *spec, const struct view *argv,
                                     int argc, struct key_range *r)
{
    if ((spec->flags & KEY_NOT_KEY) || spec->begin == KEYS_AT_UNKNOWN || spec->find == KEYS_FIND_UNKNOWN)
        return RANGE_NONE;
    r->first = keys_begin(spec, argv, argc);
    if (r->first == 0)
        return RANGE_NONE;
    if (spec->find == KEYS_KEYNUM)
        return keys_counted(cmd, spec, argv, argc, r);
    r->step = spec->step;
    if (spec->last >= 0)
        r->last = r->first + spec->last;
    else if (spec->limit > 1)
        r->last = r->first + (argc - r->first) / spec->limit - 1;
    else
        r->last = argc + spec->last;
    return r->last < r->first || r->last >= argc ? RANGE_BAD : RANGE_FOUND;
}

/* SET: GET anywhere behind the value makes it a reader too. */
static uint32_t set_key_flags(const struct view *argv, int argc)
{
    for (int i = 3; i < argc; i++)
        if (view_is(argv[i], "get"))
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
    return KEY_OW | KEY_UPDATE;
}

/* BITFIELD: only reads when it consists of complete GETs; what is no proper operation is taken for a write. */
static uint32_t bitfield_key_flags(const struct view *argv, int argc)
{
    for (int i = 2; i < argc; i++) {
        if (view_is(argv[i], "get") && argc - i > 2)
            i += 2;
        else if (view_is(argv[i], "overflow") && argc - i > 1)
            i++;
        else
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
    }
    return KEY_RO | KEY_ACCESS;
}

/* The flags of the keys of a specification, for these arguments. */
static uint32_t keys_flags(const struct command *cmd, const struct key_spec *spec, const struct view *argv, int argc)
{
    static const struct {
        const char *name;
        uint32_t (*flags)(const struct view *argv, int argc);
    } variable[] = {
        {"set", set_key_flags},
        {"bitfield", bitfield_key_flags},
    };

    if (!(spec->flags & KEY_VARIABLE_FLAGS))
        return spec->flags;
    for (size_t i = 0; i < sizeof variable / sizeof variable[0]; i++)
        if (strcmp(cmd->name, variable[i].name) == 0)
            return variable[i].flags(argv, argc);
    return spec->flags;
}

/* Appends the range to what was found so far; n: how many that is. Returns how many it is then. */
static int keys_add(const struct key_range *r, uint32_t key_flags, int *index, uint32_t *flags, int n, int max)
{
    for (int i = r->first; i <= r->last; i += r->step, n++) {
        if (n >= max)
            continue;
        index[n] = i;
        if (flags)
            flags[n] = key_flags;
    }
    return n;
}

int command_keys(const struct command *cmd, const struct view *argv, int argc, int *index, uint32_t *flags, int max)
{
    struct key_range r = {cmd->first_key, cmd->last_key, cmd->key_step};
    int n = 0;

    if (cmd->spec_count == 0)
        return 0;
    /* The triple is enough for nearly every command; only flags that differ from key to key need the specifications. */
    if (!(cmd->flags & COMMAND_MOVABLEKEYS) && (!flags || cmd->spec_count == 1)) {
        if (r.last < 0)
            r.last += argc;
        if (r.last < r.first || r.last >= argc)
            return -1;
        return keys_add(&r, flags ? keys_flags(cmd, cmd->specs, argv, argc) : 0, index, flags, 0, max);
    }
    for (unsigned i = 0; i < cmd->spec_count; i++) {
        switch (keys_range(cmd, &cmd->specs[i], argv, argc, &r)) {
        case RANGE_FOUND:
            n = keys_add(&r, flags ? keys_flags(cmd, &cmd->specs[i], argv, argc) : 0, index, flags, n, max);
            break;
        case RANGE_NONE:
            break;
        case RANGE_BAD:
            return -1;
        }
    }
    return n;
}
