/*
 * Shadows: loopback /16s that stand for VPCs on this machine. An address keeps its low 16 bits: with the shadow 127.64.0.0,
 * 172.31.13.5 is at 127.64.13.5. A shadow belongs to one service at a time, which holds a TCP port bound on its .0.1 for as
 * long; the kernel ends that with the process.
 *
 * Addresses are in the host's byte order.
 */
#ifndef CONTROL_AGENT_SHADOW_H
#define CONTROL_AGENT_SHADOW_H

#include <stdbool.h>
#include <stdint.h>

#define SHADOW_PORT 6064             /* not among the ports that the kernel gives away, and needs no privilege */
#define SHADOW_POOL_BASE 0x7f400000u /* 127.64.0.0/10 */
#define SHADOW_POOL_PREFIX 10

struct shadow;

/* Blocks of addresses from which shadows are taken, of a prefix of 8 to 16 bits. */
struct shadow_pool {
    uint32_t base;
    unsigned prefix;
};

/* Reads "127.64.0.0/10"; false for what is no such block, or has bits behind its prefix. */
bool shadow_pool_parse(const char *text, struct shadow_pool *out);

/* How many shadows it has. */
unsigned shadow_pool_count(const struct shadow_pool *p);

/* Claims a shadow of the pool: the preferred one, or the next that is free, beginning anew behind the last. What this process
 * has claimed is not free either. Returns 0; -EADDRINUSE when there is none, -EINVAL when the preferred one is not in the
 * pool, or another negative errno value; *out is NULL then. */
int shadow_claim(const struct shadow_pool *p, unsigned preferred, struct shadow **out);

/* The same, but passes over those in which somebody listens: nodes of a service that died, and will want them back. */
int shadow_claim_quiet(const struct shadow_pool *p, unsigned preferred, struct shadow **out);

/* Gives it up. Accepts NULL. */
void shadow_release(struct shadow *s);

unsigned shadow_index(const struct shadow *s);

/* 127.64.0.0 */
uint32_t shadow_base(const struct shadow *s);

/* The address in the shadow of an address of the VPC. */
uint32_t shadow_of(const struct shadow *s, uint32_t address);

/* The address in the VPC of `prefix` bits at `vpc` (at least 16) of one in the shadow; false when it is in another shadow, or
 * outside of the VPC. */
bool shadow_resolve(const struct shadow *s, uint32_t vpc, unsigned prefix, uint32_t address, uint32_t *out);

#endif
