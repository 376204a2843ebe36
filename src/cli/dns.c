/*
 * larder dns: has the system resolve the names of endpoints, for every program and user. What the machine has decides how:
 *
 *     resolved  a routing domain of systemd-resolved: queries below the suffix go to larderd's name server
 *     dnsmasq   the same, for a dnsmasq that the machine's resolv.conf points to
 *     hosts     a marked block in /etc/hosts, with the endpoints of the moment
 *
 * /etc/resolv.conf itself is never changed: others write it, and a service that is down would then take all names with it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/edit.h"
#include "cli/listing.h"
#include "cli/service.h"

#define RESOLVED_FILE "/etc/systemd/resolved.conf.d/larder.conf"
#define DNSMASQ_FILE "/etc/dnsmasq.d/larder.conf"
#define HOSTS_FILE "/etc/hosts"
#define MARK "# Written by `larder dns install`; `larder dns remove` removes it."
#define BLOCK_END "# End of what `larder dns install` wrote."

static const char *const reload_resolved[] = {"systemctl", "try-reload-or-restart", "systemd-resolved", NULL};
static const char *const restart_dnsmasq[] = {"systemctl", "try-restart", "dnsmasq", NULL};

/* ---- what the machine has ---- */

static bool exists(struct edit *e, const char *path)
{
    return access(edit_path(e, path), F_OK) == 0;
}

/* Has the file a line that begins so, and the second text behind that? */
static bool has_line(struct edit *e, const char *path, const char *first, const char *second)
{
    struct buf text = {0};
    bool found = false;

    edit_read(e, path, &text);
    buf_put_char(&text, '\0');
    for (char *line = text.p, *next; line && !found; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        found = strncmp(line, first, strlen(first)) == 0 && strstr(line + strlen(first), second);
    }
    buf_free(&text);
    return found;
}

static const char *choose_method(struct edit *e)
{
    if (exists(e, "/run/systemd/resolve") && (has_line(e, "/etc/resolv.conf", "nameserver", "127.0.0.53") ||
                                              has_line(e, "/etc/nsswitch.conf", "hosts:", "resolve")))
        return "resolved";
    if (exists(e, "/usr/sbin/dnsmasq") && exists(e, "/etc/dnsmasq.d") &&
        (has_line(e, "/etc/resolv.conf", "nameserver", "127.0.0.1") ||
         has_line(e, "/etc/resolv.conf", "nameserver", "::1")))
        return "dnsmasq";
    return "hosts";
}

/* ---- the block in /etc/hosts ---- */

/* Where the block is in the text: [*from, *to). False when there is none; aborts the program when it has no end. */
static bool find_block(struct view text, size_t *from, size_t *to)
{
    const char *start = text.n > 0 ? memmem(text.p, text.n, LIT(MARK "\n")) : NULL, *end;

    if (!start)
        return false;
    *from = (size_t)(start - text.p);
    end = memmem(start, text.n - *from, LIT(BLOCK_END "\n"));
    if (!end)
        exit(cli_fail("%s: the block that begins with \"%s\" has no end; remove it by hand", HOSTS_FILE, MARK));
    *to = (size_t)(end - text.p) + sizeof(BLOCK_END "\n") - 1;
    return true;
}

/* Has /etc/hosts hold that block, in the place of the one there is, or none when it is empty. */
static void edit_hosts(struct edit *e, struct view block)
{
    struct buf text = {0}, after = {0};
    struct view v;
    size_t from, to;

    edit_read(e, HOSTS_FILE, &text);
    if (buf_live(&text) > 0 && text.p[text.len - 1] != '\n' && block.n > 0)
        buf_put_char(&text, '\n');
    v = buf_view(&text);
    if (!find_block(v, &from, &to))
        from = to = v.n;
    buf_put(&after, v.p, from);
    buf_put_view(&after, block);
    if (to < v.n)
        buf_put(&after, v.p + to, v.n - to);
    if (buf_live(&text) > 0 || block.n > 0)
        edit_file(e, HOSTS_FILE, buf_live(&after) > 0 ? buf_view(&after) : VIEW(""));
    buf_free(&text);
    buf_free(&after);
}

static void put_hosts(struct buf *block, const json_t *places)
{
    const json_t *o, *address;
    size_t i, n;

    json_array_foreach(places, i, o)
    {
        const char *name = json_string_value(json_object_get(o, "name"));
        json_array_foreach(json_object_get(o, "addresses"), n, address)
        {
            if (strcmp(name, json_string_value(address)) != 0)
                buf_printf(block, "%s %s\n", json_string_value(address), name);
        }
    }
}

static int install_hosts(struct edit *e, const char *state_dir)
{
    static const char *const kinds[] = {"replication_groups", "cache_clusters"};
    struct buf block = {0};
    struct service s;
    const json_t *o;
    json_t *all;
    size_t n;
    int rc = service_load_with_key(&s, state_dir);

    if (rc == 0)
        rc = listing_read(&s, &all);
    if (rc != 0)
        return rc;
    buf_printf(&block, "%s\n", MARK);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        json_array_foreach(json_object_get(all, kinds[i]), n, o)
        {
            put_hosts(&block, json_object_get(o, "endpoints"));
            put_hosts(&block, json_object_get(o, "nodes"));
        }
    }
    buf_printf(&block, "%s\n", BLOCK_END);
    edit_hosts(e, buf_view(&block));
    buf_free(&block);
    json_decref(all);
    return 0;
}

/* ---- files of our own ---- */

/* Aborts the program when there is a file that somebody else wrote; true when there is ours. */
static bool is_ours(struct edit *e, const char *path)
{
    struct buf text = {0};
    bool there = edit_read(e, path, &text);

    if (there && (buf_live(&text) < sizeof MARK - 1 || memcmp(text.p, LIT(MARK)) != 0))
        exit(cli_fail("%s was not written by larder; it stays as it is", edit_path(e, path)));
    buf_free(&text);
    return there;
}

static void install_file(struct edit *e, const char *path, const struct buf *text, const char *const *command)
{
    is_ours(e, path);
    edit_file(e, path, buf_view(text));
    if (!edit_is_empty(e))
        edit_command(e, command);
}

static void remove_file(struct edit *e, const char *path, const char *const *command)
{
    if (!is_ours(e, path))
        return;
    edit_file(e, path, (struct view){0});
    edit_command(e, command);
}

/* ---- the command ---- */

static int plan_install(struct edit *e, const char *state_dir, const char *method)
{
    struct buf text = {0};
    struct service s;
    int rc;

    if (strcmp(method, "hosts") == 0)
        return install_hosts(e, state_dir);
    rc = service_load(&s, state_dir);
    if (rc != 0)
        return rc;
    if (strcmp(method, "resolved") == 0) {
        buf_printf(&text, "%s\n[Resolve]\nDNS=%s\nDomains=~%s\n", MARK, s.dns_address, s.dns_suffix);
        install_file(e, RESOLVED_FILE, &text, reload_resolved);
    } else {
        const char *colon = strrchr(s.dns_address, ':');
        buf_printf(&text, "%s\nserver=/%s/%.*s#%s\nrebind-domain-ok=/%s/\n", MARK, s.dns_suffix,
                   (int)(colon ? colon - s.dns_address : 0), s.dns_address, colon ? colon + 1 : "", s.dns_suffix);
        install_file(e, DNSMASQ_FILE, &text, restart_dnsmasq);
    }
    buf_free(&text);
    return 0;
}

static void plan_removal(struct edit *e)
{
    remove_file(e, RESOLVED_FILE, reload_resolved);
    remove_file(e, DNSMASQ_FILE, restart_dnsmasq);
    edit_hosts(e, VIEW(""));
}

static bool agreed(void)
{
    char line[16] = "";

    fputs("Make this change? [y/N] ", stdout);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin) || !isatty(STDIN_FILENO))
        putchar('\n');
    return line[0] == 'y' || line[0] == 'Y';
}

static int carry_out(struct edit *e, bool yes, const char *method)
{
    int rc;

    if (edit_is_empty(e)) {
        puts("There is nothing to change.");
        return 0;
    }
    edit_show(e);
    if (!yes && !agreed())
        return cli_fail("nothing was changed");
    rc = edit_make(e);
    if (rc == 0 && method && strcmp(method, "hosts") == 0)
        puts("These are the endpoints of now: run this again when there are others.");
    return rc;
}

static int run(const struct cli *c, int argc, char **argv)
{
    const char *root = "", *method = NULL;
    bool yes = false, install;
    const struct cli_option options[] = {{"root", NULL, &root}, {"method", NULL, &method}, {"yes", &yes, NULL}};
    struct edit *e;
    int rc = 0;

    if (cli_arguments(c, options, 3, argc, argv, 1, 1) < 0)
        return CLI_WRONG_USE;
    install = strcmp(argv[0], "install") == 0;
    if (!install && strcmp(argv[0], "remove") != 0)
        return cli_misused(c, "install or remove is expected, not %s", argv[0]);
    if (method && !install)
        return cli_misused(c, "--method is for install; remove finds what there is");
    if (method && strcmp(method, "resolved") != 0 && strcmp(method, "dnsmasq") != 0 && strcmp(method, "hosts") != 0)
        return cli_misused(c, "--method is resolved, dnsmasq or hosts, not %s", method);
    e = edit_new(root);
    if (install) {
        method = method ? method : choose_method(e);
        rc = plan_install(e, c->state_dir, method);
    } else {
        plan_removal(e);
    }
    if (rc == 0)
        rc = carry_out(e, yes, method);
    edit_free(e);
    return rc;
}

const struct cli_command cli_dns = {
    .name = "dns",
    .arguments = "install|remove [--yes] [--method resolved|dnsmasq|hosts] [--root DIR]",
    .help =
        "has the system resolve the names of endpoints, or no longer; needs root\n"
        "It shows the change and asks, unless --yes is given. Without --method it takes systemd-resolved (a routing\n"
        "domain) or dnsmasq if the machine resolves names with one of them, else a marked block in /etc/hosts,\n"
        "which has the endpoints of the moment. With --root it changes the files below DIR, and nothing is\n"
        "restarted.\n",
    .run = run,
};
