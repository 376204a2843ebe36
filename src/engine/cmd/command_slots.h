/*
 * The perfect hash behind command_find: tools/gen_commands.py finds its numbers and writes them into
 * build/gen/command_table.c; cmd/command.c computes the hash. Nobody else needs this.
 */
#ifndef CMD_COMMAND_SLOTS_H
#define CMD_COMMAND_SLOTS_H

#include <stdint.h>

struct command;

/*
 * A name in two words of up to 8 bytes, little end first, that cover up to 16 of its bytes (see name_words in
 * command.c). The masks have 0x20 where the name has a letter: only there is `| 0x20` a comparison that ignores case.
 * One cache line.
 */
struct command_slot {
    uint64_t head, tail;
    uint64_t head_letters, tail_letters;
    const struct command *command; /* NULL in an empty slot, whose len is 0 */
    uint32_t len;
} __attribute__((aligned(64)));

struct command_slots {
    uint64_t seed; /* odd */
    uint32_t mask; /* slots - 1, their number being a power of two */
    uint32_t shift;
    const uint16_t *displacements; /* one for each value of the hash's bits from `shift` on */
    const struct command_slot *slots;
};

extern const struct command_slots command_slots;

#endif
