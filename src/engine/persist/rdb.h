/*
 * The RDB file format, as reader and writer share it: Redis's snapshot, also sent to a replica and put before an
 * append-only file.
 *
 *     "REDIS" and a version in 4 digits | opcodes and keys | RDB_OP_EOF | CRC-64 of all before, little endian, 0 for none
 *
 *     key:     what is known of it (expiry, access), each behind an opcode | type code | key, a string | value
 *     length:  00xxxxxx | 01xxxxxx and a byte | 10000000 and 4 bytes | 10000001 and 8 bytes; the first byte highest
 *     string:  length and bytes, or 11xxxxxx: an integer of 1, 2 or 4 bytes, little endian, that stands for its decimal
 *              text, or the length compressed, the length plain, and the compressed bytes (LZF)
 *
 * Type codes are the business of rdb_types.c alone.
 */
#ifndef PERSIST_RDB_H
#define PERSIST_RDB_H

#include <stdint.h>

#define RDB_MAGIC "REDIS"
#define RDB_VERSION_WRITTEN 10 /* that of Redis 7.0 */
#define RDB_VERSION_MAX 12     /* the highest that is read: that of Redis 7.4 */
#define RDB_VERSION_CHECKED 5  /* the first that ends with a checksum */

#define RDB_KEY_MAX ((UINT64_C(512) << 20) - 1) /* bytes of a key */

enum rdb_opcode {
    RDB_OP_SLOT_INFO = 0xf4,       /* three lengths: a cluster slot, its keys, those with an expiry */
    RDB_OP_FUNCTION = 0xf5,        /* a string: the source of a library of functions */
    RDB_OP_FUNCTION_PRE_GA = 0xf6, /* the same, in a form that only release candidates wrote */
    RDB_OP_MODULE_AUX = 0xf7,      /* a module's data, in fields that say how long they are */
    RDB_OP_IDLE = 0xf8,            /* a length: seconds since the next key's last access */
    RDB_OP_FREQUENCY = 0xf9,       /* a byte: the next key's access counter */
    RDB_OP_AUX = 0xfa,             /* two strings: a name and a value about the file */
    RDB_OP_RESIZE = 0xfb,          /* two lengths: the keys of this database, those with an expiry */
    RDB_OP_EXPIRY_MS = 0xfc,       /* 8 bytes, little endian: when the next key expires */
    RDB_OP_EXPIRY_SECONDS = 0xfd,  /* 4 bytes, little endian: the same in seconds */
    RDB_OP_SELECT = 0xfe,          /* a length: the database of what follows */
    RDB_OP_EOF = 0xff,
};

/* The first byte of a length or a string. */
enum rdb_length {
    RDB_LENGTH_14 = 0x40,
    RDB_LENGTH_32 = 0x80,
    RDB_LENGTH_64 = 0x81,
    RDB_STRING_INT8 = 0xc0,
    RDB_STRING_INT16 = 0xc1,
    RDB_STRING_INT32 = 0xc2,
    RDB_STRING_LZF = 0xc3,
};

/* The fields of module data. */
enum rdb_module_field {
    RDB_MODULE_END,
    RDB_MODULE_SIGNED,   /* a length */
    RDB_MODULE_UNSIGNED, /* a length */
    RDB_MODULE_FLOAT,    /* 4 bytes */
    RDB_MODULE_DOUBLE,   /* 8 bytes */
    RDB_MODULE_STRING,
};

#endif
