/* Added tokens: a backward Aho-Corasick search. */
#include "added.h"

#include <stdlib.h>
#include <string.h>

/* The nodes of the trie of reversed patterns; node 0 is the root, 0 as a link means none. */
typedef struct {
    uint32_t parent, depth;
    uint32_t fallback; /* the node of the longest proper suffix that is in the trie */
    uint32_t token;    /* 1 + the longest pattern that ends here, or 0 */
    uint8_t byte;      /* on the edge from the parent */
} node;

struct llava_matcher {
    node *nodes;
    size_t count;
    uint64_t *edges; /* parent << 8 | byte, sorted; edge i leads to targets[i] */
    uint32_t *targets;
    uint32_t first[256]; /* the root's edges, for speed: most text stays at the root */
};

/* ---- Building ---- */

typedef struct {
    const char *pattern;
    size_t n;
    uint32_t token;
} entry;

/* Orders by the reversed text, so that neighbours share the longest beginnings. */
static int by_reversed(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    for (size_t i = 1; i <= x->n && i <= y->n; i++) {
        uint8_t p = (uint8_t)x->pattern[x->n - i], q = (uint8_t)y->pattern[y->n - i];
        if (p != q) {
            return p < q ? -1 : 1;
        }
    }
    return (x->n > y->n) - (x->n < y->n);
}

/* The length of the common beginning of two reversed patterns. */
static size_t shared(const entry *x, const entry *y)
{
    size_t i = 0;
    while (i < x->n && i < y->n && x->pattern[x->n - 1 - i] == y->pattern[y->n - 1 - i]) {
        i++;
    }
    return i;
}

/* Grows the trie. The entries are sorted, so an entry leaves the path of the one before it once,
 * at the depth they share, and every byte after that is a new node. */
static bool add_nodes(llava_matcher *m, const entry *entries, size_t n, size_t bytes,
                      llava_error *e)
{
    uint32_t *path = llava_alloc(e, bytes + 1, sizeof *path); /* node at every depth */
    if (path == NULL) {
        return false;
    }
    bool good = true;
    m->count = 1;
    for (size_t i = 0; i < n && good; i++) {
        const entry *now = &entries[i];
        size_t depth = i == 0 ? 0 : shared(now, &entries[i - 1]);
        if (now->n == 0 || (depth == now->n && i > 0)) {
            good = llava_fail(e, "an added token is %s once normalised (%.60s)",
                              now->n == 0 ? "empty" : "the same as another", now->pattern);
        }
        for (; depth < now->n; depth++) {
            uint32_t made = (uint32_t)m->count++;
            m->nodes[made] = (node){.parent = path[depth],
                                    .depth = (uint32_t)depth + 1,
                                    .byte = (uint8_t)now->pattern[now->n - 1 - depth]};
            path[depth + 1] = made;
        }
        m->nodes[path[now->n]].token = now->token + 1;
    }
    free(path);
    return good;
}

static uint64_t edge_key(uint32_t parent, uint8_t byte)
{
    return (uint64_t)parent << 8 | byte;
}

/* The node that `byte` leads to, or 0. */
static uint32_t follow(const llava_matcher *m, uint32_t from, uint8_t byte)
{
    if (from == 0) {
        return m->first[byte];
    }
    uint64_t key = edge_key(from, byte);
    size_t low = 0, high = m->count - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->edges[middle] < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < m->count - 1 && m->edges[low] == key ? m->targets[low] : 0;
}

/* The automaton's step: fall back until the byte can be followed. */
static uint32_t step(const llava_matcher *m, uint32_t from, uint8_t byte)
{
    uint32_t to = follow(m, from, byte);
    while (to == 0 && from != 0) {
        from = m->nodes[from].fallback;
        to = follow(m, from, byte);
    }
    return to;
}

typedef struct {
    uint64_t key;
    uint32_t target;
} edge;

static int by_key(const void *a, const void *b)
{
    const edge *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static bool sort_edges(llava_matcher *m, llava_error *e)
{
    size_t n = m->count - 1;
    edge *edges = llava_alloc(e, n, sizeof *edges);
    if (edges == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const node *to = &m->nodes[i + 1];
        edges[i] = (edge){edge_key(to->parent, to->byte), (uint32_t)i + 1};
        if (to->parent == 0) {
            m->first[to->byte] = (uint32_t)i + 1;
        }
    }
    qsort(edges, n, sizeof *edges, by_key);
    for (size_t i = 0; i < n; i++) {
        m->edges[i] = edges[i].key;
        m->targets[i] = edges[i].target;
    }
    free(edges);
    return true;
}

/* Fallback links, nearest the root first: a node's link needs those of all shorter nodes. */
static bool link_nodes(llava_matcher *m, llava_error *e)
{
    edge *sorted = llava_alloc(e, m->count, sizeof *sorted); /* by depth */
    if (sorted == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->count; i++) {
        sorted[i] = (edge){m->nodes[i].depth, (uint32_t)i};
    }
    qsort(sorted, m->count, sizeof *sorted, by_key);
    for (size_t i = 1; i < m->count; i++) {
        node *now = &m->nodes[sorted[i].target];
        now->fallback = now->parent == 0 ? 0 : step(m, m->nodes[now->parent].fallback, now->byte);
        if (now->token == 0) {
            now->token = m->nodes[now->fallback].token;
        }
    }
    free(sorted);
    return true;
}

static bool build(llava_matcher *m, const entry *entries, size_t n, llava_error *e)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += entries[i].n;
    }
    if (bytes >= UINT32_MAX / 2) {
        return llava_fail(e, "the added tokens are too long (%zu bytes)", bytes);
    }
    m->nodes = llava_alloc(e, bytes + 1, sizeof *m->nodes);
    m->edges = llava_alloc(e, bytes, sizeof *m->edges);
    m->targets = llava_alloc(e, bytes, sizeof *m->targets);
    return m->nodes != NULL && m->edges != NULL && m->targets != NULL &&
           add_nodes(m, entries, n, bytes, e) && sort_edges(m, e) && link_nodes(m, e);
}

bool llava_matcher_build(llava_matcher **matcher, const llava_added *tokens, size_t n,
                         bool normalized, llava_error *e)
{
    *matcher = NULL;
    entry *entries = llava_alloc(e, n, sizeof *entries);
    if (entries == NULL) {
        return false;
    }
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i].normalized == normalized) {
            entries[count++] = (entry){tokens[i].pattern, tokens[i].pattern_n, (uint32_t)i};
        }
    }
    bool good = true;
    if (count > 0) {
        qsort(entries, count, sizeof *entries, by_reversed);
        *matcher = llava_alloc(e, 1, sizeof **matcher);
        good = *matcher != NULL && build(*matcher, entries, count, e);
    }
    free(entries);
    if (!good) {
        llava_matcher_free(*matcher);
        *matcher = NULL;
    }
    return good;
}

void llava_matcher_free(llava_matcher *matcher)
{
    if (matcher != NULL) {
        free(matcher->nodes);
        free(matcher->edges);
        free(matcher->targets);
        free(matcher);
    }
}

/* ---- Splitting ---- */

static bool put_split(llava_splits *splits, size_t start, size_t end, int64_t token, llava_error *e)
{
    if (splits->n == splits->room) {
        size_t room = splits->room + splits->room / 2 + 16;
        llava_split *grown = llava_realloc(e, splits->at, room, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        splits->at = grown;
        splits->room = room;
    }
    splits->at[splits->n++] = (llava_split){start, end, token};
    return true;
}

/* Is there a word character before / behind this place? */
static bool word_before(const char *text, size_t at)
{
    uint32_t point = 0;
    size_t start = at;
    while (start > 0 && ((uint8_t)text[--start] & 0xc0) == 0x80) {
    }
    return llava_utf8_next(text + start, at - start, &point) > 0 && llava_is_word(point);
}

static bool word_behind(const char *text, size_t n, size_t at)
{
    uint32_t point = 0;
    return llava_utf8_next(text + at, n - at, &point) > 0 && llava_is_word(point);
}

/* Where the white space that ends at `at` begins, not before `low`. */
static size_t space_start(const char *text, size_t low, size_t at)
{
    for (;;) {
        uint32_t point = 0;
        size_t start = at;
        while (start > low && ((uint8_t)text[--start] & 0xc0) == 0x80) {
        }
        if (llava_utf8_next(text + start, at - start, &point) == 0 || !llava_is_space(point)) {
            return at;
        }
        at = start;
    }
}

/* Where the white space that begins at `at` ends. */
static size_t space_end(const char *text, size_t n, size_t at)
{
    uint32_t point;
    for (size_t length; (length = llava_utf8_next(text + at, n - at, &point)) > 0;) {
        if (!llava_is_space(point)) {
            break;
        }
        at += length;
    }
    return at;
}

/* What is known of the text so far: where the last match ended, and the white space last seen. A
 * token that is white space itself and has rstrip would otherwise scan the same run for every one
 * of its matches. */
typedef struct {
    size_t done;
    size_t space_from, space_to;
} progress;

static size_t space_end_once(const char *text, size_t n, size_t at, progress *now)
{
    if (at < now->space_from || at > now->space_to) {
        now->space_from = at;
        now->space_to = space_end(text, n, at);
    }
    return now->space_to;
}

/* Takes one match [start, end), or drops it for single_word. */
static bool take_match(const llava_added *token, int64_t index, const char *text, size_t n,
                       size_t start, size_t end, progress *now, llava_splits *splits,
                       llava_error *e)
{
    if (token->single_word && (word_before(text, start) || word_behind(text, n, end))) {
        return true;
    }
    if (token->lstrip) {
        start = start > now->done ? space_start(text, now->done, start) : now->done;
    }
    if (token->rstrip) {
        end = space_end_once(text, n, end, now);
    }
    if (now->done < start && !put_split(splits, now->done, start, -1, e)) {
        return false;
    }
    now->done = end;
    /* Nothing is left of a match that lies in white space the match before has taken. */
    return start >= end || put_split(splits, start, end, index, e);
}

/* found[i] = 1 + the longest token that begins at byte i, or 0. */
static void find_starts(const llava_matcher *m, const char *text, size_t n, uint32_t *found)
{
    uint32_t at = 0;
    for (size_t i = n; i-- > 0;) {
        at = step(m, at, (uint8_t)text[i]);
        found[i] = m->nodes[at].token;
    }
}

bool llava_matcher_split(const llava_matcher *matcher, const llava_added *tokens, const char *text,
                         size_t n, llava_splits *splits, llava_error *e)
{
    if (matcher == NULL || n == 0) {
        return n == 0 || put_split(splits, 0, n, -1, e);
    }
    uint32_t *found = llava_alloc(e, n, sizeof *found);
    if (found == NULL) {
        return false;
    }
    find_starts(matcher, text, n, found);
    progress now = {0, 1, 0};
    bool good = true;
    for (size_t i = 0; i < n && good;) {
        if (found[i] == 0) {
            i++;
            continue;
        }
        const llava_added *token = &tokens[found[i] - 1];
        size_t end = i + token->pattern_n;
        good = take_match(token, found[i] - 1, text, n, i, end, &now, splits, e);
        i = end;
    }
    free(found);
    return good && (now.done >= n || put_split(splits, now.done, n, -1, e));
}
