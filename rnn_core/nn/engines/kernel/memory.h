/* The memory of one call, for one model and one piece of a batch.
 *
 * A row that a step reads holds the factors of its sums; the weights are below:
 *
 *   0         inputs-1   inputs       front-1    front         front+H   row
 *   +---------+----------+------------+----------+-------------+---------+
 *   | unused  |    1     | x_1 .. x_I |    1     | h_1 .. h_H  | 0 .. 0  |
 *   +---------+----------+------------+----------+-------------+---------+
 *               bias_ih    weight_ih    bias_hh    weight_hh
 *
 * h is that of the step before, and begins and ends with whole vectors. One product with all of the
 * weights makes the sums of a step. Without biases the two ones are left out.
 *
 * Parameters and gradients have one row of gates for each element of such a row, then the head:
 *
 *   0           bias_ih       (G·HP)
 *               weight_ih     (I, G·HP)
 *   w_hh        bias_hh       (G·HP)
 *               weight_hh     (H, G·HP)
 *   head        head.weight   (O, HP)
 *   head_bias   head.bias     (O, padded to whole vectors)
 *   size
 *
 * A row of gates has a block of HP for each:
 *
 *   rnn_tanh   | a |
 *   lstm       | i | f | g | o |
 *   gru        | n | r | z | m |
 *
 * A GRU's m is the hidden side of n. Inputs enter its first three blocks and hidden states its last
 * three, so its parameters have three blocks a row and its activations four.
 */

typedef struct {
    int64_t hidden; /* HP */
    int64_t width;  /* G·HP, a row of the weights */
    int64_t blocks; /* a row of the activations: G·HP, of a GRU 4·HP */

    int64_t ones;   /* 1 with biases, else 0 */
    int64_t inputs; /* the starts of x and h in a row that is read, and its length */
    int64_t front;
    int64_t row;

    int64_t w_hh; /* their starts in the parameters, and the length */
    int64_t head;
    int64_t head_bias;
    int64_t size;

    int64_t from;  /* the first step that is read out */
    int64_t piece; /* rows of a pass */

    union {
        struct {
            REAL *params;   /* (size) */
            REAL *grads;    /* (size) */
            REAL *first;    /* (size) */
            REAL *second;   /* (size), of Adam alone */
            REAL *back;     /* (G, H, HP) weight_hh by rows of gates, to go back */
            REAL *reads;    /* (T+1, n, row) */
            REAL *gates;    /* (T, n, blocks), then their gradients */
            REAL *c;        /* (T+1, n, HP), of an LSTM alone */
            REAL *tanh_c;   /* (T, n, HP), of an LSTM alone */
            REAL *logits;   /* (S, n, O), then their gradients */
            REAL *dh;       /* (n, HP) */
            REAL *dc;       /* (n, HP) */
            int64_t *place; /* (P) the place in `params` of each parameter in torch's order */
            int64_t *rows;  /* (batch) the rows of a batch, without -1 */
        };
        void *arrays[ARRAYS]; /* the same arrays */
    };
    int out_of_memory;
} Work;

_Static_assert(offsetof(Work, out_of_memory) == offsetof(Work, arrays) + ARRAYS * sizeof(void *),
               "ARRAYS is not the number of the arrays");

/* Return the rows of a pass: as many as the cache holds, but enough to fill a tile. */
FN int64_t rows_of_a_pass(const Task *task, const Work *w)
{
    const int64_t states = task->cell == LSTM ? 2 * w->hidden : 0;
    const int64_t values = task->seq_len * (w->row + w->blocks + states + task->output_size);
    const int64_t least = 32 / sizeof(REAL);
    int64_t rows = CACHE / (values * (int64_t)sizeof(REAL));
    if (rows > MOST_ROWS)
        rows = MOST_ROWS;
    if (rows < least)
        rows = least;
    return rows < task->batch ? rows : task->batch;
}

/* Set all sizes and offsets. */
FN void measure(const Task *task, Work *w)
{
    const int64_t I = task->input_size;
    const int64_t H = task->hidden_size;
    const int64_t O = task->output_size;
    const int64_t vectors = (H + LANES - 1) / LANES;
    const int64_t gates = task->cell == RNN_TANH ? 1 : task->cell == GRU ? 3 : 4;

    /* An odd number of vectors: rows a power of two apart would share cache lines. */
    w->hidden = (vectors < 8 ? vectors : vectors | 1) * LANES;
    w->width = gates * w->hidden;
    w->blocks = task->cell == GRU ? 4 * w->hidden : w->width;

    w->ones = task->bias;
    w->front = (2 * w->ones + I + LANES - 1) / LANES * LANES;
    w->inputs = w->front - w->ones - I;
    w->row = w->front + w->hidden;

    w->w_hh = (w->ones + I) * w->width;
    w->head = w->w_hh + (w->ones + H) * w->width;
    w->head_bias = w->head + O * w->hidden;
    w->size = w->head_bias + (O + LANES - 1) / LANES * LANES;

    w->from = task->every_step ? 0 : task->seq_len - 1;
    w->piece = rows_of_a_pass(task, w);
}

/* Return `count` zeros on cache lines of their own; NULL once there is no memory. */
FN void *zeros(Work *w, int64_t count, size_t size)
{
    const size_t bytes = (count * size + 63) / 64 * 64;
    void *array = w->out_of_memory ? NULL : aligned_alloc(64, bytes ? bytes : 64);
    if (!array) {
        w->out_of_memory = 1;
        return NULL;
    }
    return memset(array, 0, bytes);
}

/* Allocate all arrays; return 0 if there is no memory. */
FN int allocate(const Task *task, Work *w)
{
    const int64_t T = task->seq_len;
    const int64_t n = w->piece;
    const int64_t adam = task->rule != SGD;
    const int64_t lstm = task->cell == LSTM;

    w->params = zeros(w, w->size, sizeof(REAL));
    w->grads = zeros(w, w->size, sizeof(REAL));
    w->first = zeros(w, w->size, sizeof(REAL));
    w->second = zeros(w, adam ? w->size : 0, sizeof(REAL));
    w->back = zeros(w, task->hidden_size * w->width, sizeof(REAL));
    w->reads = zeros(w, (T + 1) * n * w->row, sizeof(REAL));
    w->gates = zeros(w, T * n * w->blocks, sizeof(REAL));
    w->c = zeros(w, lstm ? (T + 1) * n * w->hidden : 0, sizeof(REAL));
    w->tanh_c = zeros(w, lstm ? T * n * w->hidden : 0, sizeof(REAL));
    w->logits = zeros(w, T * n * task->output_size, sizeof(REAL));
    w->dh = zeros(w, n * w->hidden, sizeof(REAL));
    w->dc = zeros(w, n * w->hidden, sizeof(REAL));
    w->place = zeros(w, task->param_count, sizeof(int64_t));
    w->rows = zeros(w, task->batch, sizeof(int64_t));
    return !w->out_of_memory;
}

FN void release(const Work *w)
{
    for (int k = 0; k < ARRAYS; k++)
        free(w->arrays[k]);
}

/* Set the ones of the rows that are read. */
FN void set_ones(const Task *task, const Work *w)
{
    for (int64_t k = 0; k < (task->seq_len + 1) * w->piece; k++) {
        REAL *read = w->reads + k * w->row;
        read[w->inputs - 1] = 1;
        read[w->front - 1] = 1;
    }
}

/* Write the places of a weight (G·H, inputs), or of a bias as a weight of one input, the first of
 * whose rows of gates begins at `start`; return where the next places go. */
FN int64_t *place_weight(const Task *task, const Work *w, int64_t *next, int64_t start,
                         int64_t inputs, int64_t first_block)
{
    const int64_t gates = w->width / w->hidden;
    for (int64_t gate = 0; gate < gates; gate++) {
        const int64_t block = (first_block + gate) % gates;
        for (int64_t u = 0; u < task->hidden_size; u++)
            for (int64_t k = 0; k < inputs; k++)
                *next++ = start + k * w->width + block * w->hidden + u;
    }
    return next;
}

/* Write the place of every parameter, in the order of param_shapes. */
FN void place_params(const Task *task, const Work *w)
{
    const int64_t H = task->hidden_size;
    const int64_t O = task->output_size;
    const int64_t biases = w->ones * w->width;
    const int64_t r = task->cell == GRU; /* a GRU's r, z, n of the inputs are the blocks 1, 2, 0 */
    int64_t *next = w->place;

    next = place_weight(task, w, next, biases, task->input_size, r);
    next = place_weight(task, w, next, w->w_hh + biases, H, 0);
    if (w->ones) {
        next = place_weight(task, w, next, 0, 1, r);
        next = place_weight(task, w, next, w->w_hh, 1, 0);
    }
    for (int64_t o = 0; o < O; o++)
        for (int64_t u = 0; u < H; u++)
            *next++ = w->head + o * w->hidden + u;
    for (int64_t o = 0; o < O; o++)
        *next++ = w->head_bias + o;
}

/* Prepare a call; return 0 if there is no memory. */
FN int prepare(const Task *task, Work *w)
{
    memset(w, 0, sizeof(Work));
    measure(task, w);
    if (!allocate(task, w))
        return 0;
    if (w->ones)
        set_ones(task, w);
    place_params(task, w);
    return 1;
}

/* Copy row `model` of flat (M, P) to its places; nothing if flat is NULL. The padding is zeroed, as
 * a frozen model may have left values there. */
FN void load(const Task *task, const Work *w, const void *flat, int64_t model, REAL *padded)
{
    if (!flat)
        return;
    const REAL *params = (const REAL *)flat + model * task->param_count;
    memset(padded, 0, w->size * sizeof(REAL));
    for (int64_t p = 0; p < task->param_count; p++)
        padded[w->place[p]] = params[p];
}

/* Copy the places back to row `model` of flat (M, P); nothing if flat is NULL. */
FN void store(const Task *task, const Work *w, void *flat, int64_t model, const REAL *padded)
{
    if (!flat)
        return;
    REAL *params = (REAL *)flat + model * task->param_count;
    for (int64_t p = 0; p < task->param_count; p++)
        params[p] = padded[w->place[p]];
}
