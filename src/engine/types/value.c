/* Values of every type: see value.h. */
#include "engine/types/value.h"

#include "engine/store/access.h"
#include "engine/store/item.h"
#include "engine/store/thread.h"

void value_put(struct db *db, struct thread *t, const struct key *key, struct item *old, const struct place *at,
               struct item *it)
{
    if (!old) {
        db_insert(db, t, key, it);
        return;
    }
    db_replace(db, t, key, at, it);
    item_free(t, old);
}

void value_overwrite(struct db *db, struct thread *t, const struct key *key, struct item *old, const struct place *at,
                     struct item *it)
{
    if (old) {
        it->access = old->access;
        access_touch(it, &t->random);
    }
    value_put(db, t, key, old, at, it);
}
