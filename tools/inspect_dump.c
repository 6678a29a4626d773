/* llava-ref inspect on a dump, an inputs file, or any .safetensors file. */
#include "tools/inspect.h"

#include "ref/json.h"
#include "tools/inspect_png.h"
#include "tools/progress.h"
#include "tools/words.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_integer(const llava_dump_entry *entry)
{
    char kind = entry->array.kind;
    return kind == 'i' || kind == 'u' || kind == 'b';
}

bool llava_inspect_read(llava_dump *dump, const llava_dump_entry *entry, size_t first, size_t n,
                        double *values, int64_t *integers, llava_error *e)
{
    if (!is_integer(entry)) {
        return llava_dump_read(dump, entry, first, n, values, e);
    }
    if (!llava_dump_read_integers(dump, entry, first, n, integers, e)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        values[i] = (double)integers[i];
    }
    return true;
}

/* Room to read a tensor in pieces. */
typedef struct {
    double *values;
    int64_t *integers;
} pieces;

/* before, all: elements of the tensors before this one, and of all that are measured. */
static bool measure(llava_dump *dump, const llava_dump_entry *entry, double before, double all,
                    pieces *p, llava_statistics *s, llava_error *e)
{
    *s = (llava_statistics){0};
    for (size_t done = 0; done < entry->array.count;) {
        llava_progress_show((before + (double)done) / all, NULL, entry->name);
        size_t left = entry->array.count - done;
        size_t n = left < LLAVA_INSPECT_PIECE ? left : LLAVA_INSPECT_PIECE;
        if (!llava_inspect_read(dump, entry, done, n, p->values, p->integers, e)) {
            return false;
        }
        llava_statistics_add(s, p->values, n);
        done += n;
    }
    return true;
}

static void put_tensor(llava_inspection *of, cJSON *object, const llava_dump *dump,
                       const llava_dump_entry *entry, const llava_statistics *s)
{
    char dtype[LLAVA_ARRAY_DTYPE];
    size_t offset = 0;
    bool stored = llava_dump_place(dump, entry, &offset);
    llava_array_dtype(&entry->array, dtype);
    llava_inspect_put_text(of, object, "name", entry->name);
    llava_inspect_put_text(of, object, "dtype", dtype);
    llava_inspect_put_shape(of, object, entry->array.rank, entry->array.shape);
    llava_inspect_put_statistics(of, object, s);
    llava_inspect_put_bool(of, object, "stored", stored);
    llava_inspect_put_number(of, object, "offset", stored ? (double)offset : NAN);
    llava_inspect_put_bool(of, object, "fortran_order", entry->array.fortran);
}

/* "stored at byte 512", or "deflated". */
static void show_place(llava_inspection *of, const llava_dump *dump, const llava_dump_entry *entry)
{
    size_t offset;
    if (llava_dump_place(dump, entry, &offset)) {
        fprintf(of->table, "stored at byte %zu\n", offset);
    } else {
        fputs("deflated\n", of->table);
    }
}

/* ---- all tensors -------------------------------------------------------------------------------
 */

/* The run's description, one line for each key. Text that is no JSON object is shown as it is. */
static void show_meta(llava_inspection *of, const char *meta)
{
    llava_error why;
    cJSON *json = llava_json_parse(LLAVA_DUMP_META, meta, strlen(meta), &why);
    if (json == NULL) {
        of->out_of_memory = of->out_of_memory || llava_out_of_memory(&why);
        llava_warn(why.text);
    }
    fputs(LLAVA_DUMP_META "\n", of->table);
    for (const cJSON *item = cJSON_IsObject(json) ? json->child : NULL; item != NULL;
         item = item->next) {
        char *text = cJSON_IsString(item) ? NULL : cJSON_PrintUnformatted(item);
        of->out_of_memory = of->out_of_memory || (text == NULL && !cJSON_IsString(item));
        fputs("  ", of->table);
        size_t used = 2 + llava_inspect_text(of->table, item->string, 30);
        used += (size_t)fprintf(of->table, "%*s", used < 14 ? (int)(14 - used) : 1, "");
        llava_inspect_text(of->table,
                           cJSON_IsString(item) ? item->valuestring
                           : text == NULL       ? ""
                                                : text,
                           LLAVA_INSPECT_COLUMNS - used);
        fputc('\n', of->table);
        free(text);
    }
    if (!cJSON_IsObject(json)) {
        fputs("  ", of->table);
        llava_inspect_text(of->table, meta, LLAVA_INSPECT_COLUMNS - 2);
        fputc('\n', of->table);
    }
    if (of->json != NULL && cJSON_IsObject(json)) {
        of->out_of_memory = !cJSON_AddItemToObject(of->json, "meta", json) || of->out_of_memory;
        return; /* the tree belongs to of->json now */
    }
    llava_inspect_put_text(of, of->json, "meta", meta);
    cJSON_Delete(json);
}

enum { NAME_WIDTH = 29, SHAPE_WIDTH = 16 };

static void show_row(llava_inspection *of, const llava_dump_entry *entry, const llava_statistics *s)
{
    char dtype[LLAVA_ARRAY_DTYPE], shape[LLAVA_INSPECT_SHAPE];
    llava_array_dtype(&entry->array, dtype);
    llava_inspect_shape(shape, entry->array.rank, entry->array.shape);
    llava_inspect_cell(of->table, entry->name, NAME_WIDTH);
    fprintf(of->table, " %-4s ", dtype);
    if (strlen(shape) > SHAPE_WIDTH) { /* as with a long name: the numbers go to the next line */
        fprintf(of->table, "%s\n%*s", shape, NAME_WIDTH + 6 + SHAPE_WIDTH, "");
    } else {
        fprintf(of->table, "%-*s", SHAPE_WIDTH, shape);
    }
    if (s->finite > 0) {
        fprintf(of->table, " %8.1e %8.1e %8.1e %8.1e %8.1e", s->min, s->max, s->mean,
                llava_statistics_std(s), llava_statistics_rms(s));
    }
    fputc('\n', of->table);
    if (s->nan + s->inf > 0) {
        fprintf(of->table, "%*s %zu of %zu values are NaN, %zu infinite\n", NAME_WIDTH, "", s->nan,
                s->finite + s->nan + s->inf, s->inf);
    }
}

static bool show_all(llava_inspection *of, llava_dump *dump, pieces *p, llava_error *e)
{
    const char *meta = llava_dump_meta(dump);
    cJSON *tensors;
    llava_inspect_put_text(of, of->json, "kind", "dump");
    if (meta != NULL) {
        show_meta(of, meta);
    } else {
        llava_inspect_put_text(of, of->json, "meta", NULL);
    }
    fprintf(of->table, "%-*s type %-*s %8s %8s %8s %8s %8s\n", NAME_WIDTH, "tensor", SHAPE_WIDTH,
            "shape", "min", "max", "mean", "std", "rms");
    tensors = llava_inspect_put_array(of, of->json, "tensors");
    double before = 0, all = 0;
    for (size_t i = 0; i < llava_dump_count(dump); i++) {
        all += (double)llava_dump_at(dump, i)->array.count;
    }
    llava_progress_begin();
    for (size_t i = 0; i < llava_dump_count(dump); i++) {
        const llava_dump_entry *entry = llava_dump_at(dump, i);
        llava_statistics s;
        if (!measure(dump, entry, before, all, p, &s, e)) {
            return false;
        }
        before += (double)entry->array.count;
        llava_progress_end();
        show_row(of, entry, &s);
        cJSON *object = llava_inspect_put_item(of, tensors);
        if (object != NULL) {
            put_tensor(of, object, dump, entry, &s);
        }
    }
    fputs(llava_dump_is_archive(dump) ? "where the elements lie in the archive\n" : "", of->table);
    for (size_t i = 0; llava_dump_is_archive(dump) && i < llava_dump_count(dump); i++) {
        fputs("    ", of->table);
        llava_inspect_cell(of->table, llava_dump_at(dump, i)->name, NAME_WIDTH);
        show_place(of, dump, llava_dump_at(dump, i));
    }
    return true;
}

/* ---- one tensor --------------------------------------------------------------------------------
 */

/* Values first .. first + n - 1, one a line. */
static bool show_values(llava_inspection *of, llava_dump *dump, const llava_dump_entry *entry,
                        size_t first, size_t n, cJSON *array, pieces *p, llava_error *e)
{
    if (!llava_inspect_read(dump, entry, first, n, p->values, p->integers, e)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_integer(entry)) {
            fprintf(of->table, "  %12zu  %" PRId64 "\n", first + i, p->integers[i]);
        } else {
            fprintf(of->table, "  %12zu  %.17g\n", first + i, p->values[i]);
        }
        if (array != NULL) {
            llava_inspect_push(of, array, cJSON_CreateNumber(p->values[i])); /* NaN becomes null */
        }
    }
    return true;
}

static bool show_one(llava_inspection *of, llava_dump *dump, pieces *p, llava_error *e)
{
    const llava_dump_entry *entry = llava_dump_find(dump, of->name);
    if (entry == NULL) {
        llava_nearest near = {.word = of->name};
        for (size_t i = 0; i < llava_dump_count(dump); i++) {
            llava_nearest_offer(&near, llava_dump_at(dump, i)->name);
        }
        return llava_inspect_no_tensor(of, &near, e);
    }
    char dtype[LLAVA_ARRAY_DTYPE], shape[LLAVA_INSPECT_SHAPE];
    llava_statistics s;
    size_t count = entry->array.count;
    size_t head = count < LLAVA_INSPECT_ENDS ? count : LLAVA_INSPECT_ENDS;
    size_t tail = count - head < LLAVA_INSPECT_ENDS ? count - head : LLAVA_INSPECT_ENDS;
    llava_progress_begin();
    if (!measure(dump, entry, 0, (double)count, p, &s, e)) {
        return false;
    }
    llava_progress_end();
    llava_array_dtype(&entry->array, dtype);
    llava_inspect_text(of->table, entry->name, LLAVA_INSPECT_COLUMNS);
    fprintf(of->table, "\n  type    %s\n  shape   %s\n", dtype,
            llava_inspect_shape(shape, entry->array.rank, entry->array.shape));
    fputs("  place   ", of->table);
    show_place(of, dump, entry);
    llava_inspect_statistics(of->table, &s);
    llava_inspect_put_text(of, of->json, "kind", "tensor");
    if (of->json != NULL) {
        put_tensor(of, of->json, dump, entry, &s);
    }
    cJSON *first = llava_inspect_put_array(of, of->json, "first");
    cJSON *last = llava_inspect_put_array(of, of->json, "last");
    fputs("  first values, by index in C order\n", of->table);
    if (!show_values(of, dump, entry, 0, head, first, p, e)) {
        return false;
    }
    fputs(tail > 0 ? "  last values\n" : "", of->table);
    return show_values(of, dump, entry, count - tail, tail, last, p, e) &&
           (of->png == NULL || llava_inspect_png(dump, entry, of->png, e));
}

bool llava_inspect_dump(llava_inspection *of, llava_error *e)
{
    llava_dump *dump;
    if (!llava_dump_open(&dump, of->path, e)) {
        return false;
    }
    pieces p = {.values = llava_alloc(e, LLAVA_INSPECT_PIECE, sizeof(double)),
                .integers = llava_alloc(e, LLAVA_INSPECT_PIECE, sizeof(int64_t))};
    bool ok = p.values != NULL && p.integers != NULL &&
              (of->name == NULL ? show_all(of, dump, &p, e) : show_one(of, dump, &p, e));
    free(p.values);
    free(p.integers);
    llava_dump_close(dump);
    return ok;
}
