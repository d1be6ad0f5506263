/* The memory of one call, for one model and one piece of a batch.
 *
 * A scan is one layer in one direction. It counts steps in the order in which it visits them, so
 * that a reverse one differs in nothing but where its inputs come from and its outputs go.
 *
 * A row that a scan reads at a step holds the factors of its sums; the weights are below:
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
 * Parameters and gradients have, for each scan, one row of gates for each element of such a row;
 * then what is read out:
 *
 *   bias_ih         bias_ih       (G·HP)
 *                   weight_ih     (I, G·HP)
 *   bias_hh         bias_hh       (G·HP)
 *                   weight_hh     (H, G·HP)
 *   slope           slope         (1, padded to whole vectors), of a PReLU
 *   ...
 *   hidden          hidden.bias   (FP), of a tanh head
 *                   hidden.weight (F, FP) by its inputs
 *   head            head.weight   (O, FP)
 *   head_bias       head.bias     (O, padded to whole vectors)
 *   size
 *
 * A row of gates has a block of HP for each:
 *
 *   Elman  | a |
 *   lstm   | i | f | g | o |
 *   gru    | n | r | z | m |
 *
 * A GRU's m is the hidden side of n. Inputs enter its first three blocks and hidden states its last
 * three, so its parameters have three blocks a row and its activations four.
 */

/* A layer in one direction. */
typedef struct {
    int64_t reverse;

    int64_t size;   /* I: the elements of an input */
    int64_t inputs; /* the starts of x and h in a row that is read, and its length */
    int64_t front;
    int64_t row;

    int64_t bias_ih; /* their starts in the parameters */
    int64_t bias_hh;
    int64_t slope;

    int64_t padded; /* IP: I, padded to whole vectors */
    REAL *back;     /* (G, H, HP) weight_hh by rows of gates, to go back in time */
    REAL *down;     /* (G·HP, IP) weight_ih by rows of gates, to go down; not of the first layer */
    REAL *reads;    /* (T+1, n, row) */
    REAL *gates;    /* (T, n, blocks), then their gradients */
    REAL *c;        /* (T+1, n, HP), of an LSTM alone */
    REAL *tanh_c;   /* (T, n, HP), of an LSTM alone */
    REAL *above;    /* (T, n, HP) the gradients of h from what reads it */
} Scan;

typedef struct {
    int64_t hidden; /* HP */
    int64_t width;  /* G·HP, a row of the weights */
    int64_t blocks; /* a row of the activations: G·HP, of a GRU 4·HP */
    int64_t ones;   /* 1 with biases, else 0 */

    int64_t scan_count; /* L·D */
    int64_t features;   /* F: D·H */
    int64_t read;       /* FP: F, padded to whole vectors */
    int64_t steps;      /* S that are read out */

    int64_t hidden_layer; /* their starts in the parameters, and the length */
    int64_t head;
    int64_t head_bias;
    int64_t size;

    int64_t piece;    /* rows of a pass */
    int64_t dropping; /* 1 while dropout is on */

    Scan *scans;     /* (L·D) */
    REAL *params;    /* (size) */
    REAL *grads;     /* (size) */
    REAL *first;     /* (size) */
    REAL *second;    /* (size), of Adam alone */
    REAL *feature;   /* (S, n, LANES + FP) the top layer's h that are read out, after a one */
    REAL *d_feature; /* (S, n, FP), first of the tanh layer's outputs */
    REAL *squashed;  /* (S, n, FP) the tanh layer's outputs */
    REAL *unsquash;  /* (F, FP) hidden.weight by its outputs */
    REAL *logits;    /* (S, n, O), then their gradients */
    REAL *dh;        /* (n, HP) */
    REAL *dc;        /* (n, HP) */
    REAL *dx;        /* (T, n, IP) the gradients of the inputs of a scan */
    uint8_t *kept;   /* (L-1, T, batch, F) what dropout keeps between the layers */
    int64_t *place;  /* (P) the place in `params` of each parameter in torch's order */
    int64_t *rows;   /* (batch) the rows of a batch, without -1 */
    int64_t *seats;  /* (batch) their places in the batch */

    void *newest; /* allocation; each begins with the address of the one before */
    int out_of_memory;
} Work;

/* Some rows of a batch. */
typedef struct {
    const int64_t *rows;
    const int64_t *seats;
    int64_t n;
} Piece;

INLINE int64_t whole_vectors(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

/* Return the scan of a layer and direction. */
INLINE Scan *scan_of(const Task *task, const Work *w, int64_t layer, int64_t direction)
{
    return w->scans + layer * task->directions + direction;
}

/* Return the rows of a pass: as many as the cache holds, or as take as much room as the weights,
 * which every pass reads anew if the cache does not hold them; but enough to fill a tile. */
FN int64_t rows_of_a_pass(const Task *task, const Work *w)
{
    const int64_t states = task->cell == LSTM ? 2 * w->hidden : 0;
    const int64_t least = 32 / sizeof(REAL);
    const int64_t weights = w->size * sizeof(REAL);
    int64_t values = task->output_size;
    for (int64_t k = 0; k < w->scan_count; k++)
        values += w->scans[k].row + w->blocks + states;
    int64_t rows = (weights > CACHE ? weights : CACHE) / (task->seq_len * values * sizeof(REAL));
    if (rows > MOST_ROWS)
        rows = MOST_ROWS;
    if (rows < least)
        rows = least;
    return rows < task->batch ? rows : task->batch;
}

/* Set the sizes and offsets of a scan; its parameters begin at `start`. Return where they end. */
FN int64_t measure_scan(const Task *task, const Work *w, Scan *scan, int64_t size, int64_t start)
{
    scan->size = size;
    scan->padded = whole_vectors(size);
    scan->front = whole_vectors(2 * w->ones + size);
    scan->inputs = scan->front - w->ones - size;
    scan->row = scan->front + w->hidden;

    scan->bias_ih = start;
    scan->bias_hh = scan->bias_ih + (w->ones + size) * w->width;
    scan->slope = scan->bias_hh + (w->ones + task->hidden_size) * w->width;
    return scan->slope + (task->cell == RNN_PRELU ? LANES : 0);
}

/* Set all sizes and offsets. */
FN void measure(const Task *task, Work *w)
{
    const int64_t O = task->output_size;
    const int64_t vectors = whole_vectors(task->hidden_size) / LANES;
    const int64_t gates = task->cell == LSTM ? 4 : task->cell == GRU ? 3 : 1;

    /* An odd number of vectors: rows a power of two apart would share cache lines. */
    w->hidden = (vectors < 8 ? vectors : vectors | 1) * LANES;
    w->width = gates * w->hidden;
    w->blocks = task->cell == GRU ? 4 * w->hidden : w->width;
    w->ones = task->bias;
    w->features = task->directions * task->hidden_size;
    w->read = task->directions == 1 ? w->hidden : whole_vectors(w->features);
    w->steps = task->every_step ? task->seq_len : 1;

    int64_t end = 0;
    for (int64_t k = 0; k < w->scan_count; k++) {
        const int64_t size = k < task->directions ? task->input_size : w->features;
        w->scans[k].reverse = k % task->directions;
        end = measure_scan(task, w, w->scans + k, size, end);
    }
    w->hidden_layer = end;
    w->head = end + (task->tanh_head ? (1 + w->features) * w->read : 0);
    w->head_bias = w->head + O * w->read;
    w->size = w->head_bias + whole_vectors(O);

    w->piece = rows_of_a_pass(task, w);
}

/* Return `count` zeros on cache lines of their own; NULL once there is no memory. */
FN void *zeros(Work *w, int64_t count, size_t size)
{
    const size_t bytes = (count * size + 63) / 64 * 64;
    char *start = w->out_of_memory ? NULL : aligned_alloc(64, 64 + bytes);
    if (!start) {
        w->out_of_memory = 1;
        return NULL;
    }
    *(void **)start = w->newest;
    w->newest = start;
    return memset(start + 64, 0, bytes);
}

FN void allocate_scan(const Task *task, Work *w, Scan *scan)
{
    const int64_t T = task->seq_len;
    const int64_t n = w->piece;
    const int64_t lstm = task->cell == LSTM;
    const int64_t upper = scan >= w->scans + task->directions;

    scan->back = zeros(w, task->hidden_size * w->width, sizeof(REAL));
    scan->down = zeros(w, upper ? w->width * scan->padded : 0, sizeof(REAL));
    scan->reads = zeros(w, (T + 1) * n * scan->row, sizeof(REAL));
    scan->gates = zeros(w, T * n * w->blocks, sizeof(REAL));
    scan->c = zeros(w, lstm ? (T + 1) * n * w->hidden : 0, sizeof(REAL));
    scan->tanh_c = zeros(w, lstm ? T * n * w->hidden : 0, sizeof(REAL));
    scan->above = zeros(w, T * n * w->hidden, sizeof(REAL));
}

/* Allocate all arrays; return 0 if there is no memory. */
FN int allocate(const Task *task, Work *w)
{
    const int64_t n = w->piece;
    const int64_t adam = task->rule != SGD;
    const int64_t read_out = w->steps * n * w->read;
    const int64_t squashed = task->tanh_head ? read_out : 0;
    const int64_t upper = task->num_layers > 1;
    const int64_t dropped = w->dropping ? task->num_layers - 1 : 0;

    for (int64_t k = 0; k < w->scan_count; k++)
        allocate_scan(task, w, w->scans + k);
    w->params = zeros(w, w->size, sizeof(REAL));
    w->grads = zeros(w, w->size, sizeof(REAL));
    w->first = zeros(w, w->size, sizeof(REAL));
    w->second = zeros(w, adam ? w->size : 0, sizeof(REAL));
    w->feature = zeros(w, read_out + w->steps * n * LANES, sizeof(REAL));
    w->d_feature = zeros(w, read_out, sizeof(REAL));
    w->squashed = zeros(w, squashed, sizeof(REAL));
    w->unsquash = zeros(w, task->tanh_head ? w->features * w->read : 0, sizeof(REAL));
    w->logits = zeros(w, w->steps * n * task->output_size, sizeof(REAL));
    w->dh = zeros(w, n * w->hidden, sizeof(REAL));
    w->dc = zeros(w, n * w->hidden, sizeof(REAL));
    w->dx = zeros(w, upper * task->seq_len * n * whole_vectors(w->features), sizeof(REAL));
    w->kept = zeros(w, dropped * task->seq_len * task->batch * w->features, sizeof(uint8_t));
    w->place = zeros(w, task->param_count, sizeof(int64_t));
    w->rows = zeros(w, task->batch, sizeof(int64_t));
    w->seats = zeros(w, task->batch, sizeof(int64_t));
    return !w->out_of_memory;
}

FN void release(const Work *w)
{
    for (void *start = w->newest, *before; start; start = before) {
        before = *(void **)start;
        free(start);
    }
}

/* Set the ones of the rows that are read. */
FN void set_ones(const Task *task, const Work *w)
{
    for (int64_t k = 0; w->ones && k < w->scan_count; k++) {
        const Scan *scan = w->scans + k;
        for (int64_t i = 0; i < (task->seq_len + 1) * w->piece; i++) {
            REAL *read = scan->reads + i * scan->row;
            read[scan->inputs - 1] = 1;
            read[scan->front - 1] = 1;
        }
    }
    for (int64_t i = 0; i < w->steps * w->piece; i++)
        w->feature[i * (LANES + w->read) + LANES - 1] = 1;
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

FN int64_t *place_scan(const Task *task, const Work *w, const Scan *scan, int64_t *next)
{
    const int64_t biases = w->ones * w->width;
    const int64_t r = task->cell == GRU; /* a GRU's r, z, n of the inputs are the blocks 1, 2, 0 */

    next = place_weight(task, w, next, scan->bias_ih + biases, scan->size, r);
    next = place_weight(task, w, next, scan->bias_hh + biases, task->hidden_size, 0);
    if (w->ones) {
        next = place_weight(task, w, next, scan->bias_ih, 1, r);
        next = place_weight(task, w, next, scan->bias_hh, 1, 0);
    }
    if (task->cell == RNN_PRELU)
        *next++ = scan->slope;
    return next;
}

/* Write the place of every parameter, in the order of param_shapes. */
FN void place_params(const Task *task, const Work *w)
{
    const int64_t F = w->features;
    int64_t *next = w->place;
    for (int64_t k = 0; k < w->scan_count; k++)
        next = place_scan(task, w, w->scans + k, next);
    if (task->tanh_head) {
        for (int64_t o = 0; o < F; o++)
            for (int64_t f = 0; f < F; f++)
                *next++ = w->hidden_layer + (1 + f) * w->read + o;
        for (int64_t o = 0; o < F; o++)
            *next++ = w->hidden_layer + o;
    }
    for (int64_t o = 0; o < task->output_size; o++)
        for (int64_t f = 0; f < F; f++)
            *next++ = w->head + o * w->read + f;
    for (int64_t o = 0; o < task->output_size; o++)
        *next++ = w->head_bias + o;
}

/* Prepare a call that trains, or one that computes losses; return 0 if there is no memory. */
FN int prepare(const Task *task, Work *w, int learn)
{
    memset(w, 0, sizeof(Work));
    w->dropping = learn && task->dropout > 0 && task->num_layers > 1;
    w->scan_count = task->num_layers * task->directions;
    w->scans = zeros(w, w->scan_count, sizeof(Scan));
    if (w->out_of_memory)
        return 0;
    measure(task, w);
    if (!allocate(task, w))
        return 0;
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
