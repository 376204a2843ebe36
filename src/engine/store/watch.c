/* Watched keys: see watch.h. */
#include "engine/store/watch.h"

#include "base/mem.h"
#include "engine/store/partition.h"

static void watch_unref(struct watch *w)
{
    if (atomic_fetch_sub(&w->refs, 1) != 1)
        return;
    mem_free((char *)w->key.name.p);
    mem_free(w);
}

/* Takes the watch that *link refers to out of its list. */
static void drop(struct watch **link)
{
    struct watch *w = *link;

    *link = w->next;
    watch_unref(w);
}

void watch_drop_all(struct partition *p)
{
    while (p->watches)
        drop(&p->watches);
}

struct watch *watch_new(struct partition *p, struct db *db, const struct key *key)
{
    struct watch *w = mem_zalloc(sizeof *w);

    for (struct watch **link = &p->watches; *link;) /* who watches and forgets all day must not lengthen the list */
        if (atomic_load(&(*link)->forgotten))
            drop(link);
        else
            link = &(*link)->next;
    w->db = db;
    w->key.hash = key->hash;
    w->key.name = view_of(mem_strndup(key->name.p, key->name.n), key->name.n);
    atomic_init(&w->refs, 2);
    w->next = p->watches;
    p->watches = w;
    return w;
}

void watch_forget(struct watch *w)
{
    atomic_store(&w->forgotten, true);
    watch_unref(w);
}

/* Drops forgotten watches, and marks those of the database that `same` is true for. */
static void mark(struct partition *p, const struct db *db, const struct key *key,
                 bool (*present)(struct db *db, const struct key *key))
{
    for (struct watch **link = &p->watches, *w; (w = *link);) {
        if (atomic_load(&w->forgotten)) {
            drop(link);
            continue;
        }
        if (w->db == db &&
            (key ? w->key.hash == key->hash && view_equal(w->key.name, key->name) : present(w->db, &w->key)))
            atomic_store(&w->changed, true);
        link = &w->next;
    }
}

void watch_changed(struct partition *p, const struct db *db, const struct key *key)
{
    if (__builtin_expect(p->watches != NULL, 0))
        mark(p, db, key, NULL);
}

void watch_changed_all(struct partition *p, const struct db *db, bool (*present)(struct db *db, const struct key *key))
{
    if (p->watches)
        mark(p, db, NULL, present);
}
