/* A scan over the steps, and back. */

/* -- steps and times */

/* Return the valid steps of row i. */
INLINE int64_t length_of(const Task *task, const Piece *piece, int64_t i)
{
    return task->lengths ? task->lengths[piece->rows[i]] : task->seq_len;
}

/* Return the time of a step, or the step of a time: a reverse scan begins where a window of
 * `length` steps ends. What lies beyond stays where it is. */
INLINE int64_t turned(const Scan *scan, int64_t step, int64_t length)
{
    return scan->reverse && step < length ? length - 1 - step : step;
}

/* -- forward: h of a step goes into the rows that the next step reads */

/* Write the sums of a step's gates. */
FN void sum_gates(const Task *task, const Work *w, const Scan *scan, const REAL *reads, REAL *gates,
                  int64_t n)
{
    Product sums = {
        .rows = n,
        .inner = 2 * w->ones + scan->size + task->hidden_size,
        .width = w->width,
        .c = gates,
        .c_row = w->blocks,
        .a = reads + scan->inputs - w->ones,
        .a_row = scan->row,
        .a_inner = 1,
        .b = w->params + scan->bias_ih,
        .b_row = w->width,
    };
    if (task->cell == GRU) { /* n, r, z of the inputs, then r, z, m of the hidden states */
        sums.inner = w->ones + scan->size;
        multiply(&sums);
        for (int64_t i = 0; i < n; i++)
            memset(gates + i * w->blocks + 3 * w->hidden, 0, w->hidden * sizeof(REAL));
        sums.inner = w->ones + task->hidden_size;
        sums.add = 1;
        sums.c = gates + w->hidden;
        sums.a = reads + scan->front - w->ones;
        sums.b = w->params + scan->bias_hh;
    }
    multiply(&sums);
}

INLINE void rows_forward(enum Cell cell, const Work *w, const Scan *scan, int64_t t, int64_t n)
{
    const REAL *slope = w->params + scan->slope;
    for (int64_t i = t * n; i < (t + 1) * n; i++) {
        REAL *gates = scan->gates + i * w->blocks;
        REAL *c = scan->c + i * w->hidden;
        REAL *tanh_c = scan->tanh_c + i * w->hidden;
        const REAL *h_before = scan->reads + i * scan->row + scan->front;
        REAL *h = scan->reads + (i + n) * scan->row + scan->front;
        if (cell == GRU)
            gru_row(w, gates, h_before, h);
        else if (cell == LSTM)
            lstm_row(w, gates, c, c + n * w->hidden, tanh_c, h);
        else
            elman_row(cell, w, slope, gates, h);
    }
}

/* Turn the sums of step t into gates, and write the states after it. */
FN void cell_forward(const Task *task, const Work *w, const Scan *scan, int64_t t, int64_t n)
{
    switch ((enum Cell)task->cell) {
    case RNN_TANH:
        rows_forward(RNN_TANH, w, scan, t, n);
        break;
    case RNN_RELU:
        rows_forward(RNN_RELU, w, scan, t, n);
        break;
    case RNN_SIGMOID:
        rows_forward(RNN_SIGMOID, w, scan, t, n);
        break;
    case RNN_PRELU:
        rows_forward(RNN_PRELU, w, scan, t, n);
        break;
    case GRU:
        rows_forward(GRU, w, scan, t, n);
        break;
    case LSTM:
        rows_forward(LSTM, w, scan, t, n);
        break;
    }
}

/* Keep the states of the windows that were over before step t. */
FN void keep_states(const Task *task, const Work *w, const Scan *scan, const Piece *piece,
                    int64_t t)
{
    const int64_t n = piece->n;
    const size_t bytes = w->hidden * sizeof(REAL);
    for (int64_t i = 0; task->lengths && i < n; i++) {
        if (t < length_of(task, piece, i))
            continue;
        REAL *h = scan->reads + ((t + 1) * n + i) * scan->row + scan->front;
        memcpy(h, h - n * scan->row, bytes);
        if (task->cell == LSTM) {
            REAL *c = scan->c + ((t + 1) * n + i) * w->hidden;
            memcpy(c, c - n * w->hidden, bytes);
        }
    }
}

/* Write the states after every step, from those before the first, which are zero. */
FN void scan_forward(const Task *task, const Work *w, const Scan *scan, const Piece *piece)
{
    const int64_t n = piece->n;
    for (int64_t i = 0; i < n; i++)
        memset(scan->reads + i * scan->row + scan->front, 0, w->hidden * sizeof(REAL));
    if (task->cell == LSTM)
        memset(scan->c, 0, n * w->hidden * sizeof(REAL));
    for (int64_t t = 0; t < task->seq_len; t++) {
        sum_gates(task, w, scan, scan->reads + t * n * scan->row, scan->gates + t * n * w->blocks,
                  n);
        cell_forward(task, w, scan, t, n);
        keep_states(task, w, scan, piece, t);
    }
}

/* -- backward: the gradients of the sums take the place of the gates */

/* Write a matrix (rows, columns) with its axes swapped. The rows of both begin at whole vectors. */
FN void transpose(const REAL *from, int64_t from_row, int64_t rows, int64_t columns, REAL *to,
                  int64_t to_row)
{
    /* Four at once, in half as many loads and stores. */
    for (int64_t c = 0; c + 1 < columns; c += 2)
        for (int64_t r = 0; r + 1 < rows; r += 2) {
            const pair upper = *(pair *)(from + r * from_row + c);
            const pair lower = *(pair *)(from + (r + 1) * from_row + c);
            *(pair *)(to + c * to_row + r) = (pair){upper[0], lower[0]};
            *(pair *)(to + (c + 1) * to_row + r) = (pair){upper[1], lower[1]};
        }
    if (columns % 2 == 1)
        for (int64_t r = 0; r < rows; r++)
            to[(columns - 1) * to_row + r] = from[r * from_row + columns - 1];
    if (rows % 2 == 1)
        for (int64_t c = 0; c < columns; c++)
            to[c * to_row + rows - 1] = from[(rows - 1) * from_row + c];
}

/* Write the weights of a scan by rows of gates, for the backward pass. */
FN void transpose_scan(const Task *task, const Work *w, const Scan *scan)
{
    const int64_t H = task->hidden_size;
    const int64_t HP = w->hidden;
    const int64_t bias = w->ones * w->width;
    for (int64_t gate = 0; gate < w->width / HP; gate++) {
        const REAL *weight_ih = w->params + scan->bias_ih + bias + gate * HP;
        const REAL *weight_hh = w->params + scan->bias_hh + bias + gate * HP;
        transpose(weight_hh, w->width, H, H, scan->back + gate * H * HP, HP);
        if (scan >= w->scans + task->directions)
            transpose(weight_ih, w->width, scan->size, H, scan->down + gate * HP * scan->padded,
                      scan->padded);
    }
}

INLINE void rows_backward(enum Cell cell, const Work *w, const Scan *scan, int64_t t, int64_t n)
{
    const REAL *slope = w->params + scan->slope;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = t * n + i;
        REAL *gates = scan->gates + at * w->blocks;
        const REAL *c_before = scan->c + at * w->hidden;
        const REAL *tanh_c = scan->tanh_c + at * w->hidden;
        const REAL *h_before = scan->reads + at * scan->row + scan->front;
        const REAL *h = h_before + n * scan->row;
        REAL *dh = w->dh + i * w->hidden;
        if (cell == GRU)
            gru_row_back(w, gates, h_before, dh);
        else if (cell == LSTM)
            lstm_row_back(w, gates, c_before, tanh_c, dh, w->dc + i * w->hidden);
        else
            elman_row_back(cell, w, slope, gates, h, dh, w->grads + scan->slope);
    }
}

/* Write the gradients of the sums of step t in place of its gates; dh and dc keep the parts that go
 * directly to the states before the step. */
FN void cell_backward(const Task *task, const Work *w, const Scan *scan, int64_t t, int64_t n)
{
    switch ((enum Cell)task->cell) {
    case RNN_TANH:
        rows_backward(RNN_TANH, w, scan, t, n);
        break;
    case RNN_RELU:
        rows_backward(RNN_RELU, w, scan, t, n);
        break;
    case RNN_SIGMOID:
        rows_backward(RNN_SIGMOID, w, scan, t, n);
        break;
    case RNN_PRELU:
        rows_backward(RNN_PRELU, w, scan, t, n);
        break;
    case GRU:
        rows_backward(GRU, w, scan, t, n);
        break;
    case LSTM:
        rows_backward(LSTM, w, scan, t, n);
        break;
    }
}

/* Make dh that of the step before t: the sum over the gates of da·W_hh, which of a GRU is added to
 * what went there directly. */
FN void hand_back(const Task *task, const Work *w, const Scan *scan, int64_t t, int64_t n)
{
    const int64_t H = task->hidden_size;
    const int64_t HP = w->hidden;
    const int64_t products = H == HP ? 1 : w->width / HP; /* one, without padding between gates */
    const REAL *da = scan->gates + t * n * w->blocks + w->blocks - w->width;
    for (int64_t gate = 0; gate < products; gate++)
        multiply(&(Product){
            .rows = n,
            .inner = H == HP ? w->width : H,
            .width = HP,
            .add = task->cell == GRU || gate > 0,
            .c = w->dh,
            .c_row = HP,
            .a = da + gate * HP,
            .a_row = w->blocks,
            .a_inner = 1,
            .b = scan->back + gate * H * HP,
            .b_row = HP,
        });
}

/* Write the gradients of the scan's parameters: the rows that were read, times da. */
FN void weights_backward(const Task *task, const Work *w, const Scan *scan, int64_t n, int add)
{
    Product weights = {
        .rows = 2 * w->ones + scan->size + task->hidden_size,
        .inner = task->seq_len * n,
        .width = w->width,
        .add = add,
        .c = w->grads + scan->bias_ih,
        .c_row = w->width,
        .a = scan->reads + scan->inputs - w->ones,
        .a_row = 1,
        .a_inner = scan->row,
        .b = scan->gates,
        .b_row = w->blocks,
    };
    if (task->cell == GRU) { /* the inputs with n, r, z, then the hidden states with r, z, m */
        weights.rows = w->ones + scan->size;
        multiply(&weights);
        weights.rows = w->ones + task->hidden_size;
        weights.c = w->grads + scan->bias_hh;
        weights.a = scan->reads + scan->front - w->ones;
        weights.b = scan->gates + w->hidden;
    }
    multiply(&weights);
}

/* Set the gradients of the sums and of the parameters from those of the states in `above`, which
 * are zero before step `from`; with `add`, add them to those of the previous pieces. */
FN void scan_backward(const Task *task, const Work *w, const Scan *scan, int64_t from, int64_t n,
                      int add)
{
    const int64_t values = n * w->hidden;
    memset(w->dh, 0, values * sizeof(REAL));
    memset(w->dc, 0, values * sizeof(REAL));
    if (task->cell == RNN_PRELU && !add)
        w->grads[scan->slope] = 0;
    for (int64_t t = task->seq_len - 1; t >= 0; t--) {
        if (t >= from)
            for (int64_t k = 0; k < values; k += LANES)
                AT(w->dh + k) += AT(scan->above + t * values + k);
        cell_backward(task, w, scan, t, n);
        if (t % task->truncate > 0) {
            hand_back(task, w, scan, t, n);
        } else if (t > 0) { /* gradients do not go on to the piece before */
            memset(w->dh, 0, values * sizeof(REAL));
            memset(w->dc, 0, values * sizeof(REAL));
        }
    }
    weights_backward(task, w, scan, n, add);
}
