/* Every error text that a client can see, in one table: Redis's words, because clients match them. Texts are printf
 * formats; `%s` arguments are NUL-terminated, `%.*s` are what a client sent, given as ERROR_SHOWN(view). */
#ifndef CMD_ERRORS_H
#define CMD_ERRORS_H

/* X(id, text), by code: ERR, in families of commands, then the others. */
#define ERROR_TABLE(X)                                                                                                                                                                                                                \
    X(ERROR_SYNTAX, "ERR syntax error")                                                                                                                                                                                               \
    X(ERROR_NOT_INTEGER, "ERR value is not an integer or out of range")                                                                                                                                                               \
    X(ERROR_NOT_FLOAT, "ERR value is not a valid float")                                                                                                                                                                              \
    X(ERROR_NOT_POSITIVE, "ERR value is out of range, must be positive")                                                                                                                                                              \
    X(ERROR_NO_KEY, "ERR no such key")                                                                                                                                                                                                \
    X(ERROR_SAME_OBJECT, "ERR source and destination objects are the same")                                                                                                                                                           \
    X(ERROR_DB_INDEX, "ERR DB index is out of range")                                                                                                                                                                                 \
    X(ERROR_INVALID_CURSOR, "ERR invalid cursor")                                                                                                                                                                                     \
    X(ERROR_INVALID_EXPIRE, "ERR invalid expire time in '%s' command")                                                                                                                                                                \
    X(ERROR_STRING_TOO_LONG, "ERR string exceeds maximum allowed size (proto-max-bulk-len)")                                                                                                                                          \
    X(ERROR_OFFSET, "ERR offset is out of range")                                                                                                                                                                                     \
    X(ERROR_OVERFLOW, "ERR increment or decrement would overflow")                                                                                                                                                                    \
    X(ERROR_DECR_OVERFLOW, "ERR decrement would overflow")                                                                                                                                                                            \
    X(ERROR_NAN, "ERR increment would produce NaN or Infinity")                                                                                                                                                                       \
    X(ERROR_BIT_OFFSET, "ERR bit offset is not an integer or out of range")                                                                                                                                                           \
    X(ERROR_BIT_VALUE, "ERR bit is not an integer or out of range")                                                                                                                                                                   \
    X(ERROR_BIT_ARGUMENT, "ERR The bit argument must be 1 or 0.")                                                                                                                                                                     \
    X(ERROR_BITOP_NOT, "ERR BITOP NOT must be called with a single source key.")                                                                                                                                                      \
    X(ERROR_FIELD_TYPE,                                                                                                                                                                                                               \
      "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")                                                                                                                             \
    X(ERROR_FIELD_OVERFLOW, "ERR Invalid OVERFLOW type specified")                                                                                                                                                                    \
    X(ERROR_FIELD_READONLY, "ERR BITFIELD_RO only supports the GET subcommand")                                                                                                                                                       \
    X(ERROR_LCS_OPTIONS, "ERR If you want both the length and indexes, please just use IDX.")                                                                                                                                         \
    X(ERROR_LCS_TYPE, "ERR The specified keys must contain string values")                                                                                                                                                            \
    X(ERROR_LCS_LENGTH, "ERR String too long for LCS")                                                                                                                                                                                \
    X(ERROR_LCS_LIMIT, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")                                                                                                                                \
    X(ERROR_LCS_MEMORY, "ERR Insufficient memory, failed allocating transient memory for LCS")                                                                                                                                        \
    X(ERROR_UNKNOWN_COMMAND, "ERR unknown command '%.*s', with args beginning with: %.*s")                                                                                                                                            \
    X(ERROR_UNKNOWN_SUBCOMMAND, "ERR unknown subcommand '%.*s'. Try %s HELP.")                                                                                                                                                        \
    X(ERROR_ARITY, "ERR wrong number of arguments for '%s' command")                                                                                                                                                                  \
    X(ERROR_MULTI_NESTED, "ERR MULTI calls can not be nested")                                                                                                                                                                        \
    X(ERROR_EXEC_NO_MULTI, "ERR EXEC without MULTI")                                                                                                                                                                                  \
    X(ERROR_DISCARD_NO_MULTI, "ERR DISCARD without MULTI")                                                                                                                                                                            \
    X(ERROR_WATCH_IN_MULTI, "ERR WATCH inside MULTI is not allowed")                                                                                                                                                                  \
    X(ERROR_NOT_IN_MULTI, "ERR Command not allowed inside a transaction")                                                                                                                                                             \
    X(ERROR_MAX_CLIENTS, "ERR max number of clients reached")                                                                                                                                                                         \
    X(ERROR_MEMORY, "ERR out of memory: the value is too large for this host")                                                                                                                                                        \
    X(ERROR_INT_RANGE, "ERR value is out of range, value must between -2147483648 and 2147483647")                                                                                                                                    \
    X(ERROR_FIRST_DB, "ERR invalid first DB index")                                                                                                                                                                                   \
    X(ERROR_SECOND_DB, "ERR invalid second DB index")                                                                                                                                                                                 \
    X(ERROR_EXPIRE_OPTION, "ERR Unsupported option %.*s")                                                                                                                                                                             \
    X(ERROR_EXPIRE_NX, "ERR NX and XX, GT or LT options at the same time are not compatible")                                                                                                                                         \
    X(ERROR_EXPIRE_GT_LT, "ERR GT and LT options at the same time are not compatible")                                                                                                                                                \
    X(ERROR_LFU_OFF,                                                                                                                                                                                                                  \
      "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")                                       \
    X(ERROR_LFU_ON,                                                                                                                                                                                                                   \
      "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")                                                  \
    X(ERROR_CLIENT_NAME, "ERR Client names cannot contain spaces, newlines or special characters.")                                                                                                                                   \
    X(ERROR_CLIENT_ATTRIBUTE, "ERR %s cannot contain spaces, newlines or special characters.")                                                                                                                                        \
    X(ERROR_CLIENT_OPTION, "ERR Unrecognized option '%.*s'")                                                                                                                                                                          \
    X(ERROR_CLIENT_TYPE, "ERR Unknown client type '%.*s'")                                                                                                                                                                            \
    X(ERROR_CLIENT_ID, "ERR Invalid client ID")                                                                                                                                                                                       \
    X(ERROR_CLIENT_ID_POSITIVE, "ERR client-id should be greater than 0")                                                                                                                                                             \
    X(ERROR_CLIENT_AGE, "ERR maxage is not an integer or out of range")                                                                                                                                                               \
    X(ERROR_CLIENT_AGE_POSITIVE, "ERR maxage should be greater than 0")                                                                                                                                                               \
    X(ERROR_NO_CLIENT, "ERR No such client")                                                                                                                                                                                          \
    X(ERROR_NO_USER, "ERR No such user '%.*s'")                                                                                                                                                                                       \
    X(ERROR_TIMEOUT, "ERR timeout is not an integer or out of range")                                                                                                                                                                 \
    X(ERROR_TIMEOUT_NEGATIVE, "ERR timeout is negative")                                                                                                                                                                              \
    X(ERROR_PAUSE_MODE, "ERR CLIENT PAUSE mode must be WRITE or ALL")                                                                                                                                                                 \
    X(ERROR_HELLO_VERSION, "ERR Protocol version is not an integer or out of range")                                                                                                                                                  \
    X(ERROR_HELLO_OPTION, "ERR Syntax error in HELLO option '%.*s'")                                                                                                                                                                  \
    X(ERROR_AUTH_NO_PASSWORD,                                                                                                                                                                                                         \
      "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")                                                                                                 \
    X(ERROR_NO_SHUTDOWN, "ERR No shutdown in progress.")                                                                                                                                                                              \
    X(ERROR_SHUTDOWN, "ERR Errors trying to SHUTDOWN. Check logs.")                                                                                                                                                                   \
    X(ERROR_SUBCOMMAND_SYNTAX, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.")                                                                                                                        \
    X(ERROR_GETKEYS_COMMAND, "ERR Invalid command specified")                                                                                                                                                                         \
    X(ERROR_GETKEYS_NONE, "ERR The command has no key arguments")                                                                                                                                                                     \
    X(ERROR_GETKEYS_ARITY, "ERR Invalid number of arguments specified for command")                                                                                                                                                   \
    X(ERROR_GETKEYS_ARGUMENTS, "ERR Invalid arguments specified for command")                                                                                                                                                         \
    X(ERROR_CONFIG, "ERR %s")                                                                                                                                                                                                         \
    X(ERROR_DEBUG_OFF,                                                                                                                                                                                                                \
      "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.") \
    X(ERROR_REPLCONF_ADDRESS, "ERR REPLCONF ip-address provided by replica instance is too long: %d bytes at most") \
    X(ERROR_REPLCONF_OPTION, "ERR Unrecognized REPLCONF option: %.*s") \
    X(ERROR_PSYNC_FAILOVER_PRIMARY, "ERR PSYNC FAILOVER can't be sent to a master.") \
    X(ERROR_PSYNC_FAILOVER_ID, "ERR PSYNC FAILOVER replid must match my replid.") \
    X(ERROR_REPLICAOF_REPLICA, "ERR Command is not valid when client is a replica.") \
    X(ERROR_PRIMARY_PORT, "ERR Invalid master port") \
    X(ERROR_WAIT_REPLICA, "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.") \
    X(ERROR_WAITAOF_LOCAL, "ERR value is out of range, value must between 0 and 1") \
    X(ERROR_WAITAOF_REPLICA, "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.") \
    X(ERROR_WAITAOF_OFF, "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.") \
    X(ERROR_FAILOVER_TIMEOUT, "ERR FAILOVER timeout must be greater than 0") \
    X(ERROR_FAILOVER_NONE, "ERR No failover in progress.") \
    X(ERROR_FAILOVER_REPLICA, "ERR FAILOVER is not valid when server is a replica.") \
    X(ERROR_FAILOVER_ALONE, "ERR FAILOVER requires connected replicas.") \
    X(ERROR_FAILOVER_ALREADY, "ERR FAILOVER already in progress.") \
    X(ERROR_FAILOVER_FORCE, "ERR FAILOVER with force option requires both a timeout and target HOST and IP.") \
    X(ERROR_FAILOVER_TARGET, "ERR FAILOVER target HOST and PORT is not a replica.") \
    X(ERROR_SAVING, "ERR Background save already in progress") \
    X(ERROR_SAVE_FAILED, "ERR The data could not be saved. Check logs.") \
    X(ERROR_SAVE_BUSY, "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.") \
    X(ERROR_REWRITING, "ERR Background append only file rewriting already in progress") \
    X(ERROR_EXECABORT, "EXECABORT Transaction discarded because of previous errors.")                                                                                                                                                 \
    X(ERROR_EXECABORT_OOM,                                                                                                                                                                                                            \
      "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.")                                                                                                                          \
    X(ERROR_EXECABORT_ARITY, "EXECABORT Transaction discarded because of: wrong number of arguments for '%s' command")                                                                                                                \
    X(ERROR_LOADING, "LOADING Redis is loading the dataset in memory") \
    X(ERROR_MASTERDOWN, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.") \
    X(ERROR_MISCONF, "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.") \
    X(ERROR_MISCONF_FILE, "MISCONF Errors writing to the AOF file: %s") \
    X(ERROR_NO_PRIMARY_LINK, "NOMASTERLINK Can't SYNC while not connected with my master") \
    X(ERROR_NOREPLICAS, "NOREPLICAS Not enough good replicas to write.") \
    X(ERROR_READONLY, "READONLY You can't write against a read only replica.") \
    X(ERROR_UNKNOWN_FATE, "UNCERTAIN The write was made, but not confirmed by enough replicas in time: it may be lost, or not.") \
    X(ERROR_NOAUTH, "NOAUTH Authentication required.")                                                                                                                                                                                \
    X(ERROR_HELLO_NOAUTH,                                                                                                                                                                                                             \
      "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")                \
    X(ERROR_NOPROTO, "NOPROTO unsupported protocol version")                                                                                                                                                                          \
    X(ERROR_OOM, "OOM command not allowed when used memory > 'maxmemory'.")                                                                                                                                                           \
    X(ERROR_WRONGPASS, "WRONGPASS invalid username-password pair or user is disabled.")                                                                                                                                               \
    X(ERROR_WRONGTYPE, "WRONGTYPE Operation against a key holding the wrong kind of value")                                                                                                                                           \
    X(ERROR_TEXT, "%s")

/* Bytes of an error line that are sent. */
#define ERROR_LINE_MAX 1024

/* The two arguments of a `%.*s`: a view, cut to what can be shown, because a length may be more than an int holds. */
#define ERROR_SHOWN(v) (int)((v).n < ERROR_LINE_MAX ? (v).n : ERROR_LINE_MAX), (v).p

enum error_id {
#define X(id, text) id,
    ERROR_TABLE(X)
#undef X
};

/* The format of one message. */
const char *error_format(enum error_id id);

#endif
