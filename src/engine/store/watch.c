/* Watched keys: see watch.h. */
#include "engine/store/watch.h"

#include "base/mem.h"
#include "engine/store/partition.h"

struct watch_set *watch_set_new(void)
{
    struct watch_set *set = mem_zalloc(sizeof *set);

    atomic_init(&set->refs, 1);
    return set;
}

void watch_set_unref(struct watch_set *set)
{
    if (set && atomic_fetch_sub(&set->refs, 1) == 1)
        mem_free(set);
}

static bool is_on(const struct watch *w, const struct db *db, const struct key *key)
{
    return w->db == db && w->key.hash == key->hash && view_equal(w->key.name, key->name);
}

static void watch_unref(struct watch *w)
{
    if (atomic_fetch_sub(&w->refs, 1) != 1)
        return;
    watch_set_unref(w->set);
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

struct watch *watch_new(struct watch_set *set, struct partition *p, struct db *db, const struct key *key)
{
    struct watch *w;

    for (struct watch **link = &p->watches; *link;) {
        if (atomic_load(&(*link)->forgotten)) { /* who watches and forgets all day must not lengthen the list */
            drop(link);
            continue;
        }
        if ((*link)->set == set && is_on(*link, db, key))
            return NULL;
        link = &(*link)->next;
    }
    w = mem_zalloc(sizeof *w);
    w->set = set;
    atomic_fetch_add(&set->refs, 1);
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
        if (key ? is_on(w, db, key) : w->db == db && present(w->db, &w->key))
            atomic_store(&w->set->changed, true);
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
