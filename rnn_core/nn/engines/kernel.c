/* The NumPy engine in C: recurrent networks of one layer, trained by backpropagation through time.
 *
 * The equations are those of rnn_core/nn/layers.py, losses.py and optim.py; kernel.py says what is covered, and calls.
 * A call takes some models of the stack one after the other, each through whole epochs, in memory that is bounded by
 * one model and a piece of a batch. Nothing is shared between calls, so they may run on threads.
 *
 * The text below is compiled six times, as this file includes itself: for each instruction set, and there for each
 * precision. Vectors are those of GCC and Clang. A vector runs along the hidden units, which are padded to whole
 * vectors with zeros: weights of zero have gradients of zero, so the padding stays what it is until a model is lost.
 *
 * Axes: T steps, n rows of a piece, I inputs, H hidden units (padded: HP), G gates, O outputs.
 */

#ifndef BYTES /* ------------------------------------------------ once: what the precisions share */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>
#undef I /* is an axis here, not the imaginary unit */

/* The codes that kernel.py sends. A number is never given another meaning: a library that was built earlier would take
 * it for the old one. */
enum Cell { RNN_TANH = 1, GRU = 2, LSTM = 3 };
enum Loss {
    BINARY_CROSS_ENTROPY = 1,
    TEXTBOOK_CROSS_ENTROPY = 2,
    BRIER = 3,
    CROSS_ENTROPY = 4,
    MEAN_SQUARED_ERROR = 5
};
enum Rule { SGD = 1, ADAM = 2, ADAMW = 3 };
enum Outcome { DONE = 0, NO_MEMORY = -1, UNKNOWN_CODE = -2 };
enum { AS_IT_IS, TANH, TANH_BACK }; /* what is made of a product before it is stored */
enum { MOST_ROWS = 32, CACHE = 1 << 19 }; /* of one pass, and the bytes that their activations should fit into */

/* What is asked for; field by field the Task of kernel.py. Arrays of `void` are in the precision asked for. */
typedef struct {
    int64_t instruction_set, single_precision, cell, bias, every_step, loss, rule;
    int64_t seq_len, input_size, hidden_size, output_size, param_count;
    int64_t models, epochs, steps, batch, updates;
    double momentum, weight_decay, beta1, beta2, eps, clip_norm, clip_value;
    const void *x, *center, *scale, *y; /* (N, T, I), (M, I), (M, I), (N, S, O) */
    const uint8_t *mask;                /* (N, S) */
    const void *class_weights;          /* (2 or O) */
    const int64_t *chosen;              /* (models) their numbers among the M */
    const int64_t *rows;                /* (M, epochs, steps, batch): -1 is no row */
    const double *rate;                 /* (M, epochs) */
    void *params, *first, *second;      /* (M, P): the velocity of sgd is `first`; NULL where the rule has none */
    double *step;                       /* (M) updates that Adam has made */
    int64_t *frozen;                    /* (M) */
    double *losses;                     /* (M, epochs) */
} Task;

#define JOIN_(name, precision, set) name##_##precision##_##set
#define JOIN(name, precision, set) JOIN_(name, precision, set)
#define NAME(name) JOIN(name, PRECISION, SET)
#define FN __attribute__((unused)) static TARGET
#define INLINE static inline __attribute__((always_inline)) TARGET

#define BYTES 16
#define SET plain
#define TARGET
#include "kernel.c"

#ifdef __x86_64__
#define BYTES 32
#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#include "kernel.c"

#define BYTES 64
#define SET avx512
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,fma")))
#include "kernel.c"
#endif

typedef struct {
    int (*train[2])(const Task *), (*loss[2])(const Task *);
    void (*tanh[2])(const void *, void *, int64_t);
} Version;

#define VERSION(set)                                                                                                   \
    {                                                                                                                  \
        {train_double_##set, train_float_##set}, {loss_double_##set, loss_float_##set},                                \
            {tanhs_double_##set, tanhs_float_##set}                                                                    \
    }
static const Version versions[] = {
    VERSION(plain),
#ifdef __x86_64__
    VERSION(avx2),
    VERSION(avx512),
#endif
};

/* How many of `versions` this processor can run; the last of them is the fastest. */
int64_t kernel_instruction_sets(void)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 1;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return 2;
    return 3;
#else
    return 1;
#endif
}

/* A library that was built from another text is recognised by it. */
int64_t kernel_task_size(void) { return sizeof(Task); }

/* Whether every code of the task is one of those above. */
static int known(const Task *task)
{
    const int64_t cell = task->cell, loss = task->loss, rule = task->rule;
    return (cell == RNN_TANH || cell == GRU || cell == LSTM) &&
           (loss == BINARY_CROSS_ENTROPY || loss == TEXTBOOK_CROSS_ENTROPY || loss == BRIER || loss == CROSS_ENTROPY ||
            loss == MEAN_SQUARED_ERROR) &&
           (rule == SGD || rule == ADAM || rule == ADAMW);
}

/* Both return an Outcome. */
int kernel_train(const Task *task)
{
    return known(task) ? versions[task->instruction_set].train[task->single_precision](task) : UNKNOWN_CODE;
}

int kernel_loss(const Task *task)
{
    return known(task) ? versions[task->instruction_set].loss[task->single_precision](task) : UNKNOWN_CODE;
}

/* `count` hyperbolic tangents, a multiple of 16, of arrays that are aligned to 64 bytes. */
void kernel_tanh(int64_t instruction_set, int64_t single_precision, const void *x, void *y, int64_t count)
{
    versions[instruction_set].tanh[single_precision](x, y, count);
}

#elif !defined REAL /* ------------------------------------------ once an instruction set: the two precisions */

#define REAL double
#define WORD uint64_t
#define PRECISION double
#define MANTISSA 52
#define LARGEST 20 /* from there on tanh rounds to 1 */
#include "kernel.c"
#undef REAL
#undef WORD
#undef PRECISION
#undef MANTISSA
#undef LARGEST

#define REAL float
#define WORD uint32_t
#define PRECISION float
#define MANTISSA 23
#define LARGEST 10
#include "kernel.c"
#undef REAL
#undef WORD
#undef PRECISION
#undef MANTISSA
#undef LARGEST
#undef BYTES
#undef SET
#undef TARGET

#else /* --------------------------------------------------------- the text of each */

#define vec NAME(vec)
#define bits NAME(bits)
#define pair NAME(pair)
#define Work NAME(Work)
#define LANES ((int64_t)(BYTES / sizeof(REAL)))
#define AT(pointer) (*(vec *)(pointer))

typedef REAL vec __attribute__((vector_size(BYTES), may_alias));
typedef WORD bits __attribute__((vector_size(BYTES), may_alias));
typedef REAL pair __attribute__((vector_size(2 * sizeof(REAL)), may_alias));

/* What one call works in. A row that a step reads is 1, its inputs, 1 and, on vectors of their own, the hidden states
 * before it: the biases are the weights of the ones, which are left out without biases. A GRU's gates stand as n, r, z,
 * m, its m being the hidden side of n: so inputs enter the three blocks from the first on, hidden states those from the
 * second on. */
typedef struct {
    int64_t hidden, width, blocks, row; /* HP, G·HP, width of a row of gates, of a row that is read */
    int64_t ones, inputs, front;        /* 1 with biases, else 0; in a row that is read, where the inputs and h begin */
    int64_t w_hh, head, head_bias, size; /* where W_hh (1+H, G·HP), head (O, HP) and (O) begin in params, its length */
    int64_t from, piece;                 /* the first step that is read out; rows of a pass */
    REAL *params, *grads, *first, *second; /* (size) */
    REAL *back;                            /* (G, H, HP): W_hh by rows of gates, for the way back */
    REAL *reads, *gates, *c, *tanh_c;      /* (T+1, n, row), (T, n, blocks), (T+1, n, HP), (T, n, HP) */
    REAL *logits, *dh, *dc;                /* (S, n, O), then their gradients; (n, HP), (n, HP) */
    int64_t *place, *rows;                 /* (P) where a parameter stands in params; rows of a batch, without -1 */
    void *allocated[16];
    int count;
} Work;

/* -- elementwise */

INLINE vec NAME(either)(bits mask, vec yes, vec no) { return (vec)((mask & (bits)yes) | (~mask & (bits)no)); }

INLINE vec NAME(all)(REAL value) { return value - (vec){0}; }

INLINE REAL NAME(sum)(vec values)
{
    REAL each[LANES] __attribute__((aligned(BYTES)));
    AT(each) = values;
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++)
            each[lane] += each[lane + half];
    return each[0];
}

/* With |x| = k·ln(2)/2 + r and tanh r = u/v by Lambert's continued fraction, exp(2|x|) = 2^k·(v + u)/(v - u), which makes
 * tanh |x| = (w + u)/(w + v), w = (2^(k-1) - 1/2)·(v + u). The fractions are expanded by 3 and 9: v then lies just below a
 * power of two, where rounding costs least. */
INLINE vec NAME(tanh)(vec x)
{
    const REAL magic = (REAL)3 * ((WORD)1 << (MANTISSA - 1)) + (sizeof(REAL) == 8 ? 1022 : 126);
    const vec one = NAME(all)(1), limit = NAME(all)(LARGEST);
    const bits sign = (bits)x & (bits)-NAME(all)(0);
    const vec y = (vec)((bits)x ^ sign);
    const vec shifted = y * (REAL)0x1.71547652b82fep+1 + magic; /* ends with the digits of k - 1 and the exponent's bias */
    const vec k = shifted - magic, power = (vec)((bits)shifted << MANTISSA);
    const vec r = y - k * (REAL)0x1.62e42fefa39efp-2, r2 = r * r, r4 = r2 * r2;
    vec u, v;
    if (sizeof(REAL) == 8) {
        u = r * ((31185 + 3780 * r2) + 63 * r4);
        v = (31185 + 14175 * r2) + r4 * (630 + 3 * r2);
    } else {
        u = r * (945 + 90 * r2);
        v = (945 + 405 * r2) + 9 * r4;
    }
    const vec w = (power - (REAL)0.5) * (v + u), tanh_y = (w + u) / (w + v);
    return (vec)((bits)NAME(either)((bits)(y > limit), one, tanh_y) | sign); /* a NaN stays */
}

INLINE vec NAME(sigmoid)(vec a) { return (REAL)0.5 * NAME(tanh)((REAL)0.5 * a) + (REAL)0.5; }

INLINE vec NAME(clip)(vec x, vec bound)
{
    const bits sign = (bits)x & (bits)-NAME(all)(0);
    return NAME(either)((bits)((vec)((bits)x ^ sign) > bound), (vec)((bits)bound | sign), x); /* a NaN stays */
}

INLINE vec NAME(root)(vec x)
{
    REAL each[LANES] __attribute__((aligned(BYTES)));
    AT(each) = x;
    for (int lane = 0; lane < LANES; lane++)
        each[lane] = sqrt(each[lane]);
    return AT(each);
}

FN void NAME(tanhs)(const void *x, void *y, int64_t count)
{
    for (int64_t k = 0; k < count; k += LANES)
        AT((REAL *)y + k) = NAME(tanh)(AT((REAL *)x + k));
}

/* -- products: C = A·B or C += A·B, where C and B have rows of vectors and A any two strides */

typedef struct {
    REAL *c;
    const REAL *a, *b, *y; /* y is the tanh that the gradient in C goes back through */
    int64_t c_row, a_row, a_inner, b_row, y_row, rows, inner, width, add;
    int64_t steps, c_step, a_step, y_step; /* so many products one after the other: C of one may be A of the next */
} NAME(Product);

INLINE vec NAME(begin)(const NAME(Product) * of, int64_t row, int64_t column)
{
    return of->add ? AT(of->c + row * of->c_row + column) : (vec){0};
}

INLINE void NAME(end)(const NAME(Product) * of, int ending, int64_t row, int64_t column, vec sum)
{
    if (ending == TANH)
        sum = NAME(tanh)(sum);
    if (ending == TANH_BACK) {
        const vec y = AT(of->y + row * of->y_row + column);
        sum *= 1 - y * y;
    }
    AT(of->c + row * of->c_row + column) = sum;
}

/* `rows` and `vectors` of C at (row, column), kept in registers. */
INLINE void NAME(tile)(const NAME(Product) * of, int ending, int64_t row, int64_t column, const int rows,
                       const int vectors)
{
    vec sum[8][2];
    const REAL *a = of->a + row * of->a_row, *b = of->b + column;
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            sum[i][v] = NAME(begin)(of, row + i, column + v * LANES);
    for (int64_t k = 0; k < of->inner; k++, a += of->a_inner, b += of->b_row)
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sum[i][v] += a[i * of->a_row] * AT(b + v * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            NAME(end)(of, ending, row + i, column + v * LANES, sum[i][v]);
}

/* The same for one row, in several sums, as additions into one would wait for each other. */
INLINE void NAME(strip)(const NAME(Product) * of, int ending, int64_t row, int64_t column, const int vectors)
{
    const int parts = vectors == 1 ? 4 : 2;
    vec sum[4][4];
    const REAL *a = of->a + row * of->a_row, *b = of->b + column;
#pragma GCC unroll 4
    for (int part = 0; part < parts; part++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sum[part][v] = part == 0 ? NAME(begin)(of, row, column + v * LANES) : (vec){0};
    int64_t k = 0;
    for (; k < of->inner % parts; k++, a += of->a_inner, b += of->b_row) /* first: a step waits for the last of its A */
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sum[0][v] += a[0] * AT(b + v * LANES);
    for (; k < of->inner; k += parts)
#pragma GCC unroll 4
        for (int part = 0; part < parts; part++, a += of->a_inner, b += of->b_row)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sum[part][v] += a[0] * AT(b + v * LANES);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        vec both = sum[0][v] + sum[1][v];
        if (parts == 4)
            both += sum[2][v] + sum[3][v];
        NAME(end)(of, ending, row, column + v * LANES, both);
    }
}

INLINE void NAME(products)(const NAME(Product) * all, int ending)
{
    for (int64_t step = 0; step < all->steps; step++) {
        NAME(Product) of = *all;
        of.c += step * of.c_step;
        of.a += step * of.a_step;
        if (ending == TANH_BACK)
            of.y += step * of.y_step;
        int64_t column = 0; /* the loop outside: a panel of B stays in cache for all rows */
        if (of.rows == 1)
            for (; column + 4 * LANES <= of.width; column += 4 * LANES)
                NAME(strip)(&of, ending, 0, column, 4);
        for (; column + 2 * LANES <= of.width; column += 2 * LANES) {
            int64_t row = 0;
            for (; row + 4 <= of.rows; row += 4)
                NAME(tile)(&of, ending, row, column, 4, 2);
            for (; row < of.rows; row++)
                NAME(strip)(&of, ending, row, column, 2);
        }
        if (column < of.width) {
            int64_t row = 0;
            for (; row + 8 <= of.rows; row += 8)
                NAME(tile)(&of, ending, row, column, 8, 1);
            for (; row < of.rows; row++)
                NAME(strip)(&of, ending, row, column, 1);
        }
    }
}

FN void NAME(product)(NAME(Product) of)
{
    of.steps = 1;
    NAME(products)(&of, AS_IT_IS);
}

/* -- the network */

/* The hidden states before the first step, and the inputs of the rows, standardised as the model sees them. */
FN void NAME(read)(const Task *task, const Work *w, int64_t model, const int64_t *rows, int64_t n)
{
    const int64_t T = task->seq_len, I = task->input_size, HP = w->hidden, row = w->row;
    const REAL *center = (const REAL *)task->center + model * I, *scale = (const REAL *)task->scale + model * I;
    for (int64_t i = 0; i < n; i++)
        for (int64_t u = 0; u < HP; u += LANES) {
            AT(w->reads + i * row + w->front + u) = (vec){0};
            if (task->cell == LSTM)
                AT(w->c + i * HP + u) = (vec){0};
        }
    for (int64_t k = 0; k < I; k++) {
        const REAL mean = center[k], shrink = 1 / scale[k];
        REAL *read = w->reads + w->inputs + k;
        for (int64_t t = 0; t < T; t++)
            for (int64_t i = 0; i < n; i++, read += row)
                *read = (((const REAL *)task->x)[(rows[i] * T + t) * I + k] - mean) * shrink;
    }
}

/* What `read` has left, to the hidden states of all steps. */
FN void NAME(forward_rnn)(const Task *task, const Work *w, int64_t n)
{
    const int64_t step = n * w->row;
    NAME(products)(&(NAME(Product)){.c = w->reads + step + w->front, .a = w->reads + w->inputs - w->ones,
                                    .b = w->params, .c_row = w->row, .a_row = w->row, .a_inner = 1,
                                    .b_row = w->width, .rows = n,
                                    .inner = 2 * w->ones + task->input_size + task->hidden_size, .width = w->width,
                                    .steps = task->seq_len, .c_step = step, .a_step = step},
                   TANH);
}

FN void NAME(forward_gated)(const Task *task, const Work *w, int64_t n)
{
    const int64_t I = task->input_size, H = task->hidden_size, HP = w->hidden, row = w->row;
    for (int64_t t = 0; t < task->seq_len; t++) {
        REAL *reads = w->reads + t * n * row, *after = reads + n * row + w->front;
        REAL *gates = w->gates + t * n * w->blocks;
        NAME(Product) sums = {.c = gates, .a = reads + w->inputs - w->ones, .b = w->params, .c_row = w->blocks,
                              .a_row = row, .a_inner = 1, .b_row = w->width, .rows = n, .inner = 2 * w->ones + I + H,
                              .width = w->width};
        if (task->cell == GRU) { /* of the inputs and of the hidden states by themselves */
            sums.inner = w->ones + I;
            NAME(product)(sums);
            for (int64_t i = 0; i < n; i++)
                memset(gates + i * w->blocks + w->width, 0, HP * sizeof(REAL));
            sums.add = 1;
            sums.c = gates + HP;
            sums.a = reads + w->front - w->ones;
            sums.b = w->params + w->w_hh;
            sums.inner = w->ones + H;
        }
        NAME(product)(sums);
        for (int64_t i = 0; i < n; i++, gates += w->blocks, reads += row, after += row)
            for (int64_t u = 0; u < HP; u += LANES) {
                if (task->cell == GRU) {
                    const vec r = NAME(sigmoid)(AT(gates + HP + u)), z = NAME(sigmoid)(AT(gates + 2 * HP + u));
                    const vec new = NAME(tanh)(AT(gates + u) + r * AT(gates + 3 * HP + u));
                    AT(after + u) = new + z * (AT(reads + w->front + u) - new);
                    AT(gates + u) = new;
                    AT(gates + HP + u) = r;
                    AT(gates + 2 * HP + u) = z;
                } else {
                    const int64_t at = (t * n + i) * HP + u;
                    const vec in = NAME(sigmoid)(AT(gates + u)), f = NAME(sigmoid)(AT(gates + HP + u));
                    const vec g = NAME(tanh)(AT(gates + 2 * HP + u)), out = NAME(sigmoid)(AT(gates + 3 * HP + u));
                    const vec c = f * AT(w->c + at) + in * g, tanh_c = NAME(tanh)(c);
                    AT(after + u) = out * tanh_c;
                    AT(w->c + n * HP + at) = c;
                    AT(w->tanh_c + at) = tanh_c;
                    AT(gates + u) = in;
                    AT(gates + HP + u) = f;
                    AT(gates + 2 * HP + u) = g;
                    AT(gates + 3 * HP + u) = out;
                }
            }
    }
}

/* The rows to their logits. */
FN void NAME(forward)(const Task *task, const Work *w, int64_t model, const int64_t *rows, int64_t n)
{
    const int64_t T = task->seq_len, O = task->output_size, HP = w->hidden;
    NAME(read)(task, w, model, rows, n);
    (task->cell == RNN_TANH ? NAME(forward_rnn) : NAME(forward_gated))(task, w, n);
    for (int64_t i = 0; i < (T - w->from) * n; i++) {
        const REAL *h = w->reads + ((w->from + 1) * n + i) * w->row + w->front;
        for (int64_t o = 0; o < O; o++) {
            vec sum = {0};
            for (int64_t u = 0; u < HP; u += LANES)
                sum += AT(h + u) * AT(w->params + w->head + o * HP + u);
            w->logits[i * O + o] = NAME(sum)(sum) + w->params[w->head_bias + o];
        }
    }
}

/* From the logits' gradients to those of the sums that tanh was taken of. */
FN void NAME(backward_rnn)(const Task *task, const Work *w, int64_t n)
{
    const int64_t T = task->seq_len, O = task->output_size, HP = w->hidden, step = n * HP, last = (T - 1) * step;
    NAME(product)((NAME(Product)){.c = w->gates + w->from * step, .a = w->logits, .b = w->params + w->head, .c_row = HP,
                                  .a_row = O, .a_inner = 1, .b_row = HP, .rows = (T - w->from) * n, .inner = O,
                                  .width = HP});
    NAME(Product) sums = {.c = w->gates + last, .b = w->back, .y = w->reads + T * n * w->row + w->front, .c_row = HP,
                          .a_row = HP, .a_inner = 1, .b_row = HP, .y_row = w->row, .rows = n, .width = HP, .add = 1,
                          .steps = 1, .c_step = -step, .a_step = -step, .y_step = -n * w->row};
    NAME(products)(&sums, TANH_BACK);
    sums.a = sums.c;
    sums.c -= step;
    sums.y -= n * w->row;
    sums.add = task->every_step;
    sums.inner = task->hidden_size;
    sums.steps = T - 1;
    NAME(products)(&sums, TANH_BACK);
}

FN void NAME(backward_gated)(const Task *task, const Work *w, int64_t n)
{
    const int64_t T = task->seq_len, H = task->hidden_size, O = task->output_size;
    const int64_t HP = w->hidden, G = w->width / HP, row = w->row;
    for (int64_t k = 0; k < n * HP; k += LANES)
        AT(w->dh + k) = AT(w->dc + k) = (vec){0};
    for (int64_t t = T - 1; t >= 0; t--) {
        REAL *gates = w->gates + t * n * w->blocks, *before = w->reads + t * n * row + w->front;
        if (t >= w->from)
            NAME(product)((NAME(Product)){.c = w->dh, .a = w->logits + (t - w->from) * n * O, .b = w->params + w->head,
                                          .c_row = HP, .a_row = O, .a_inner = 1, .b_row = HP, .rows = n, .inner = O,
                                          .width = HP, .add = 1});
        for (int64_t i = 0; i < n; i++, gates += w->blocks, before += row)
            for (int64_t u = 0; u < HP; u += LANES) {
                vec *dh = &AT(w->dh + i * HP + u);
                if (task->cell == GRU) {
                    const vec new = AT(gates + u), r = AT(gates + HP + u), z = AT(gates + 2 * HP + u);
                    const vec dn = *dh * (1 - z) * (1 - new * new);
                    AT(gates + u) = dn;
                    AT(gates + HP + u) = dn * AT(gates + 3 * HP + u) * r * (1 - r);
                    AT(gates + 2 * HP + u) = *dh * (AT(before + u) - new) * z * (1 - z);
                    AT(gates + 3 * HP + u) = dn * r;
                    *dh *= z;
                } else {
                    const int64_t at = (t * n + i) * HP + u;
                    const vec in = AT(gates + u), f = AT(gates + HP + u), g = AT(gates + 2 * HP + u);
                    const vec out = AT(gates + 3 * HP + u), tanh_c = AT(w->tanh_c + at);
                    vec *dc = &AT(w->dc + i * HP + u);
                    *dc += *dh * out * (1 - tanh_c * tanh_c);
                    AT(gates + u) = *dc * g * in * (1 - in);
                    AT(gates + HP + u) = *dc * AT(w->c + at) * f * (1 - f);
                    AT(gates + 2 * HP + u) = *dc * in * (1 - g * g);
                    AT(gates + 3 * HP + u) = *dh * tanh_c * out * (1 - out);
                    *dc *= f;
                }
            }
        gates = w->gates + t * n * w->blocks + w->blocks - w->width;
        for (int64_t gate = 0; t > 0 && gate < G; gate++) /* what a GRU's dh holds already goes straight there */
            NAME(product)((NAME(Product)){.c = w->dh, .a = gates + gate * HP, .b = w->back + gate * H * HP, .c_row = HP,
                                          .a_row = w->blocks, .a_inner = 1, .b_row = HP, .rows = n, .inner = H,
                                          .width = HP, .add = gate > 0 || task->cell == GRU});
    }
}

/* From the logits' gradients to those of the parameters, which are set, or added to those of the pieces before. */
FN void NAME(backward)(const Task *task, const Work *w, int64_t n, int add)
{
    const int64_t T = task->seq_len, I = task->input_size, H = task->hidden_size, O = task->output_size;
    const int64_t HP = w->hidden, row = w->row;
    (task->cell == RNN_TANH ? NAME(backward_rnn) : NAME(backward_gated))(task, w, n);
    NAME(Product) weights = {.c = w->grads, .a = w->reads + w->inputs - w->ones, .b = w->gates, .c_row = w->width,
                             .a_row = 1, .a_inner = row, .b_row = w->blocks, .rows = 2 * w->ones + I + H,
                             .inner = T * n, .width = w->width, .add = add};
    if (task->cell == GRU) {
        weights.rows = w->ones + I;
        NAME(product)(weights);
        weights.c = w->grads + w->w_hh;
        weights.a = w->reads + w->front - w->ones;
        weights.b = w->gates + HP;
        weights.rows = w->ones + H;
    }
    NAME(product)(weights);
    NAME(product)((NAME(Product)){.c = w->grads + w->head, .a = w->logits,
                                  .b = w->reads + (w->from + 1) * n * row + w->front, .c_row = HP, .a_row = 1,
                                  .a_inner = O, .b_row = row, .rows = O, .inner = (T - w->from) * n, .width = HP,
                                  .add = add});
    for (int64_t o = 0; o < O; o++) {
        REAL sum = add ? w->grads[w->head_bias + o] : 0;
        for (int64_t i = 0; i < (T - w->from) * n; i++)
            sum += w->logits[i * O + o];
        w->grads[w->head_bias + o] = sum;
    }
}

/* -- the loss */

/* What the rows' losses are divided by, and how many steps of theirs are scored. */
FN REAL NAME(weigh)(const Task *task, const int64_t *rows, int64_t n, int64_t *scored)
{
    const int64_t S = task->every_step ? task->seq_len : 1, O = task->output_size;
    const REAL *weights = task->class_weights;
    double total = 0;
    *scored = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t s = rows[i] * S; s < (rows[i] + 1) * S; s++) {
            const REAL *y = (const REAL *)task->y + s * O;
            *scored += task->mask[s];
            for (int64_t o = 0; task->mask[s] && o < O; o++)
                switch ((enum Loss)task->loss) {
                case BINARY_CROSS_ENTROPY:
                case TEXTBOOK_CROSS_ENTROPY:
                case BRIER:
                    total += weights[0] * (1 - y[o]) + weights[1] * y[o];
                    break;
                case CROSS_ENTROPY:
                    total += weights[o] * y[o];
                    break;
                case MEAN_SQUARED_ERROR:
                    total += 1;
                    break;
                }
        }
    return total > 0 ? total : 1;
}

/* The summed loss of the rows; their logits become its gradients, divided by `weight`. */
FN double NAME(score)(const Task *task, const Work *w, const int64_t *rows, int64_t n, REAL weight)
{
    const int64_t S = task->every_step ? task->seq_len : 1, O = task->output_size;
    const REAL *weights = task->class_weights;
    double total = 0;
    for (int64_t s = 0; s < S; s++)
        for (int64_t i = 0; i < n; i++) {
            const REAL *y = (const REAL *)task->y + (rows[i] * S + s) * O;
            REAL *z = w->logits + (s * n + i) * O, largest = z[0], sum = 0, own = 0;
            if (!task->mask[rows[i] * S + s]) {
                memset(z, 0, O * sizeof(REAL));
                continue;
            }
            for (int64_t o = 0; o < O; o++)
                largest = z[o] > largest ? z[o] : largest;
            for (int64_t o = 0; task->loss == CROSS_ENTROPY && o < O; o++) {
                sum += exp(z[o] - largest);
                own += weights[o] * y[o];
            }
            for (int64_t o = 0; o < O; o++)
                switch ((enum Loss)task->loss) {
                case BINARY_CROSS_ENTROPY:
                case TEXTBOOK_CROSS_ENTROPY:
                case BRIER: {
                    const REAL down = weights[0] * (1 - y[o]), up = weights[1] * y[o], own = down + up;
                    const REAL decay = exp(-fabs(z[o])), p = (z[o] < 0 ? decay : 1) / (1 + decay), error = p - y[o];
                    if (task->loss == BRIER)
                        total += own * error * error;
                    else if (task->loss == TEXTBOOK_CROSS_ENTROPY)
                        total -= up * log(p + (REAL)1e-8) + down * log(1 - p + (REAL)1e-8);
                    else
                        total += (down + up) * log1p(decay) + (z[o] < 0 ? -up : down) * z[o];
                    z[o] = (task->loss == BRIER ? 2 * own * error * p * (1 - p) : own * p - up) / weight;
                    break;
                }
                case CROSS_ENTROPY: {
                    const REAL log_softmax = z[o] - largest - log(sum);
                    total -= weights[o] * y[o] * log_softmax;
                    z[o] = (exp(log_softmax) * own - weights[o] * y[o]) / weight;
                    break;
                }
                case MEAN_SQUARED_ERROR: {
                    const REAL error = z[o] - y[o];
                    total += error * error;
                    z[o] = 2 * error / weight;
                    break;
                }
                }
        }
    return total;
}

/* -- the update */

/* A rule's constants at one update. */
typedef struct {
    REAL clip_value, shrink, length, momentum, beta2, fresh1, fresh2, scale, eps, added, shrunk;
} NAME(Rule);

/* The parameters after one step go where the gradient stood; whether that and the step are finite. */
INLINE int NAME(step)(const Work *w, const NAME(Rule) * rule, const int adam, const int plain)
{
    const vec bound = NAME(all)(rule->clip_value);
    vec bad_grads = {0}, bad_steps = {0}; /* a value times zero is zero if it is finite */
    for (int64_t k = 0; k < w->size; k += LANES) {
        const vec given = AT(w->grads + k), old = AT(w->params + k), clipped = NAME(clip)(given, bound);
        vec step;
        if (plain)
            step = rule->length * clipped;
        else {
            const vec g = clipped * rule->shrink + rule->added * old;
            if (adam) {
                const vec mean = AT(w->first + k) + rule->fresh1 * (g - AT(w->first + k));
                const vec square = AT(w->second + k) * rule->beta2 + rule->fresh2 * (g * g);
                step = rule->length * (mean / (NAME(root)(square) / rule->scale + rule->eps));
                AT(w->first + k) = mean;
                AT(w->second + k) = square;
            } else {
                const vec velocity = AT(w->first + k) * rule->momentum + g;
                step = rule->length * velocity;
                AT(w->first + k) = velocity;
            }
            step += rule->shrunk * old;
        }
        bad_grads += given * 0;
        bad_steps += step * 0;
        AT(w->grads + k) = old - step;
    }
    for (int lane = 0; lane < LANES; lane++)
        if (bad_grads[lane] != 0 || bad_steps[lane] != 0)
            return 0;
    return 1;
}

/* One step of the rule; whether the gradient and the step are finite. If not, the parameters stay as they were. */
FN int NAME(update)(const Task *task, Work *w, int64_t model, double rate)
{
    const int adam = task->rule != SGD, adamw = task->rule == ADAMW, clipped = task->clip_norm < INFINITY;
    const double count = adam ? task->step[model] += 1 : 0;
    NAME(Rule) rule = {.clip_value = task->clip_value, .shrink = 1, .momentum = task->momentum, .beta2 = task->beta2,
                       .fresh1 = 1 - task->beta1, .fresh2 = 1 - task->beta2, .eps = task->eps,
                       .length = adam ? rate / (1 - pow(task->beta1, count)) : rate,
                       .scale = adam ? sqrt(1 - pow(task->beta2, count)) : 1,
                       .added = adamw ? 0 : task->weight_decay, .shrunk = adamw ? rate * task->weight_decay : 0};
    if (clipped) {
        const vec bound = NAME(all)(rule.clip_value);
        vec square = {0};
        for (int64_t k = 0; k < w->size; k += LANES) {
            const vec g = NAME(clip)(AT(w->grads + k), bound);
            square += g * g;
        }
        rule.shrink = (REAL)task->clip_norm / (sqrt(NAME(sum)(square)) + (REAL)1e-6);
        rule.shrink = rule.shrink > 1 ? 1 : rule.shrink;
    }
    const int plain = !adam && !clipped && task->momentum == 0 && task->weight_decay == 0;
    const int finite = adam    ? NAME(step)(w, &rule, 1, 0)
                       : plain ? NAME(step)(w, &rule, 0, 1)
                               : NAME(step)(w, &rule, 0, 0);
    if (finite) {
        REAL *const before = w->params;
        w->params = w->grads;
        w->grads = before;
    }
    return finite;
}

/* -- a model, an epoch, a call */

/* `count` zeros, on cache lines of their own; NULL, and then always NULL, when there is no memory. */
FN void *NAME(zeros)(Work *w, int64_t count, size_t size)
{
    const size_t bytes = (count * size + 63) / 64 * 64;
    void *block = w->count && !w->allocated[w->count - 1] ? NULL : aligned_alloc(64, bytes ? bytes : 64);
    w->allocated[w->count++] = block;
    return block ? memset(block, 0, bytes) : NULL;
}

FN void NAME(release)(const Work *w)
{
    for (int k = 0; k < w->count; k++)
        free(w->allocated[k]);
}

/* Room for the call, the ones in it, and the place of each parameter; 0 when there is no memory. */
FN int NAME(prepare)(const Task *task, Work *w)
{
    const int64_t T = task->seq_len, I = task->input_size, H = task->hidden_size, O = task->output_size;
    const int64_t G = task->cell == RNN_TANH ? 1 : task->cell == GRU ? 3 : 4, vectors = (H + LANES - 1) / LANES;
    const int64_t HP = (vectors < 8 ? vectors : vectors | 1) * LANES; /* rows a power of two apart share cache lines */
    const int64_t adam = task->rule != SGD, lstm = task->cell == LSTM;
    const int64_t ones = task->bias, front = (2 * ones + I + LANES - 1) / LANES * LANES;
    *w = (Work){.hidden = HP, .width = G * HP, .blocks = (G + (task->cell == GRU)) * HP, .row = front + HP,
                .ones = ones, .inputs = front - ones - I, .front = front};
    const int64_t row = T * (w->row + w->blocks + 2 * lstm * HP + O) * sizeof(REAL), least = 32 / sizeof(REAL);
    int64_t n = CACHE / row;
    n = n < least ? least : n < MOST_ROWS ? n : MOST_ROWS; /* fewer would fill no tile */
    w->piece = n = n < task->batch ? n : task->batch;
    w->from = task->every_step ? 0 : T - 1;
    w->w_hh = (ones + I) * w->width;
    w->head = w->w_hh + (ones + H) * w->width;
    w->head_bias = w->head + O * HP;
    w->size = w->head_bias + (O + LANES - 1) / LANES * LANES;
    w->params = NAME(zeros)(w, w->size, sizeof(REAL));
    w->grads = NAME(zeros)(w, w->size, sizeof(REAL));
    w->first = NAME(zeros)(w, w->size, sizeof(REAL));
    w->second = NAME(zeros)(w, adam ? w->size : 0, sizeof(REAL));
    w->back = NAME(zeros)(w, G * H * HP, sizeof(REAL));
    w->reads = NAME(zeros)(w, (T + 1) * n * w->row, sizeof(REAL));
    w->gates = NAME(zeros)(w, T * n * w->blocks, sizeof(REAL));
    w->c = NAME(zeros)(w, lstm ? (T + 1) * n * HP : 0, sizeof(REAL));
    w->tanh_c = NAME(zeros)(w, lstm ? T * n * HP : 0, sizeof(REAL));
    w->logits = NAME(zeros)(w, T * n * O, sizeof(REAL));
    w->dh = NAME(zeros)(w, n * HP, sizeof(REAL));
    w->dc = NAME(zeros)(w, n * HP, sizeof(REAL));
    w->place = NAME(zeros)(w, task->param_count, sizeof(int64_t));
    w->rows = NAME(zeros)(w, task->batch, sizeof(int64_t));
    if (!w->rows)
        return 0;
    for (int64_t k = 0; ones && k < (T + 1) * n; k++)
        w->reads[k * w->row + w->inputs - 1] = w->reads[k * w->row + front - 1] = 1;

    int64_t *next = w->place; /* in the order of param_shapes: weight_ih, weight_hh, bias_ih, bias_hh, head */
    for (int side = 0; side < 2 + 2 * ones; side++) {
        const int64_t start = side % 2 ? w->w_hh : 0, inputs = side < 2 ? (side ? H : I) : 1;
        for (int64_t gate = 0; gate < G; gate++) {
            const int64_t block = task->cell == GRU && side % 2 == 0 ? (gate + 1) % 3 : gate; /* of r, z, n */
            for (int64_t u = 0; u < H; u++)
                for (int64_t k = 0; k < inputs; k++)
                    *next++ = start + ((side < 2 ? ones : 0) + k) * w->width + block * HP + u;
        }
    }
    for (int64_t o = 0; o < O; o++)
        for (int64_t k = 0; k < H; k++)
            *next++ = w->head + o * HP + k;
    for (int64_t o = 0; o < O; o++)
        *next++ = w->head_bias + o;
    return 1;
}

/* Row `model` of flat (M, P) into its places, or the other way round. The padding may hold what a lost model left. */
FN void NAME(load)(const Task *task, const Work *w, const void *flat, int64_t model, REAL *padded)
{
    if (flat)
        memset(padded, 0, w->size * sizeof(REAL));
    for (int64_t p = 0; flat && p < task->param_count; p++)
        padded[w->place[p]] = ((const REAL *)flat)[model * task->param_count + p];
}

FN void NAME(store)(const Task *task, const Work *w, void *flat, int64_t model, const REAL *padded)
{
    for (int64_t p = 0; flat && p < task->param_count; p++)
        ((REAL *)flat)[model * task->param_count + p] = padded[w->place[p]];
}

FN void NAME(transpose)(const Task *task, const Work *w)
{
    const int64_t H = task->hidden_size, HP = w->hidden, width = w->width, last = H - 1;
    for (int64_t gate = 0; gate < width / HP; gate++) {
        const REAL *from = w->params + w->w_hh + w->ones * width + gate * HP;
        REAL *to = w->back + gate * H * HP;
        for (int64_t u = 0; u < last; u += 2)
            for (int64_t k = 0; k < last; k += 2) { /* four at once, in half as many loads and stores */
                const pair one = *(pair *)(from + k * width + u), other = *(pair *)(from + (k + 1) * width + u);
                *(pair *)(to + u * HP + k) = (pair){one[0], other[0]};
                *(pair *)(to + (u + 1) * HP + k) = (pair){one[1], other[1]};
            }
        for (int64_t k = 0; H % 2 == 1 && k < H; k++) {
            to[last * HP + k] = from[k * width + last];
            to[k * HP + last] = from[last * width + k];
        }
    }
}

/* The rows that are there, without -1, of a batch; returns their number. */
FN int64_t NAME(present)(const Task *task, const Work *w, const int64_t *batch)
{
    int64_t n = 0;
    for (int64_t i = 0; i < task->batch; i++)
        if (batch[i] >= 0)
            w->rows[n++] = batch[i];
    return n;
}

/* One epoch of a model over its `rows` (steps, batch), `updates` after the first; returns its mean loss. */
FN double NAME(epoch)(const Task *task, Work *w, int64_t model, const int64_t *rows, double rate, int64_t updates)
{
    double total = 0, count = 0;
    for (int64_t step = 0; step < task->steps && task->frozen[model] < 0; step++) {
        const int64_t n = NAME(present)(task, w, rows + step * task->batch);
        int64_t scored;
        const REAL weight = NAME(weigh)(task, w->rows, n, &scored);
        if (scored == 0)
            continue;
        double loss = 0;
        NAME(transpose)(task, w);
        for (int64_t start = 0; start < n; start += w->piece) {
            const int64_t size = n - start < w->piece ? n - start : w->piece;
            NAME(forward)(task, w, model, w->rows + start, size);
            loss += NAME(score)(task, w, w->rows + start, size, weight);
            NAME(backward)(task, w, size, start > 0);
        }
        total += loss / weight * scored;
        count += scored;
        if (!NAME(update)(task, w, model, rate))
            task->frozen[model] = updates + step;
    }
    return count > 0 ? total / count : NAN;
}

FN int NAME(train)(const Task *task)
{
    Work w;
    const int ready = NAME(prepare)(task, &w);
    for (int64_t m = 0; ready && m < task->models; m++) {
        const int64_t model = task->chosen[m];
        NAME(load)(task, &w, task->params, model, w.params);
        NAME(load)(task, &w, task->first, model, w.first);
        NAME(load)(task, &w, task->second, model, w.second);
        memset(w.grads, 0, w.size * sizeof(REAL)); /* `backward` sets all but the padding of the head's bias */
        for (int64_t e = 0; e < task->epochs; e++) {
            const int64_t own = model * task->epochs + e, *rows = task->rows + own * task->steps * task->batch;
            task->losses[own] = NAME(epoch)(task, &w, model, rows, task->rate[own], task->updates + e * task->steps);
        }
        NAME(store)(task, &w, task->params, model, w.params);
        NAME(store)(task, &w, task->first, model, w.first);
        NAME(store)(task, &w, task->second, model, w.second);
    }
    NAME(release)(&w);
    return ready ? DONE : NO_MEMORY;
}

/* The loss of each model over its rows, which are one batch of one epoch, without learning. */
FN int NAME(loss)(const Task *task)
{
    Work w;
    const int ready = NAME(prepare)(task, &w);
    for (int64_t m = 0; ready && m < task->models; m++) {
        const int64_t model = task->chosen[m], n = NAME(present)(task, &w, task->rows + model * task->batch);
        int64_t scored;
        double total = 0;
        const REAL weight = NAME(weigh)(task, w.rows, n, &scored);
        NAME(load)(task, &w, task->params, model, w.params);
        for (int64_t start = 0; start < n; start += w.piece) {
            const int64_t size = n - start < w.piece ? n - start : w.piece;
            NAME(forward)(task, &w, model, w.rows + start, size);
            total += NAME(score)(task, &w, w.rows + start, size, weight);
        }
        task->losses[model] = total / weight;
    }
    NAME(release)(&w);
    return ready ? DONE : NO_MEMORY;
}

#undef vec
#undef bits
#undef pair
#undef Work
#undef LANES
#undef AT
#endif
