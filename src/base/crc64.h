/*
 * The CRC-64 that RDB files end with: polynomial 0xad93d23594c935a9 (Jones, "An improved 64-bit cyclic
 * redundancy check for protein sequences", 2002), bits reflected, no initial and no final inversion, so that
 * crc64(0, p, n) starts and crc64(crc, ...) goes on. The check value of "123456789" is 0xe9c6d914c4b8d9ca. It protects
 * from accidents, not from people.
 */
#ifndef BASE_CRC64_H
#define BASE_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what gave crc, and n more bytes. */
uint64_t crc64(uint64_t crc, const void *p, size_t n);

/* The same, without the processor's carry-less multiplication: what crc64 does elsewhere, and its measure in tests. */
uint64_t crc64_portable(uint64_t crc, const void *p, size_t n);

#endif
