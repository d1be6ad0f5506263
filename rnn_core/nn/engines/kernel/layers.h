/* The network: inputs to logits, and the gradients of the logits to those of all parameters. */

/* Write the inputs of the rows, standardised for the model, and zeros as the first states. */
FN void read_inputs(const Task *task, const Work *w, int64_t model, const int64_t *rows, int64_t n)
{
    const int64_t T = task->seq_len;
    const int64_t I = task->input_size;
    const REAL *x = task->x;
    const REAL *center = (const REAL *)task->center + model * I;
    const REAL *scale = (const REAL *)task->scale + model * I;

    for (int64_t i = 0; i < n; i++)
        for (int64_t u = 0; u < w->hidden; u += LANES) {
            AT(w->reads + i * w->row + w->front + u) = (vec){0};
            if (task->cell == LSTM)
                AT(w->c + i * w->hidden + u) = (vec){0};
        }
    for (int64_t k = 0; k < I; k++) {
        const REAL mean = center[k];
        const REAL shrink = 1 / scale[k];
        REAL *read = w->reads + w->inputs + k;
        for (int64_t t = 0; t < T; t++)
            for (int64_t i = 0; i < n; i++, read += w->row)
                *read = (x[(rows[i] * T + t) * I + k] - mean) * shrink;
    }
}

/* -- forward: h of step t goes into the rows that step t + 1 reads */

/* h_t = tanh(a_t): one product a step, as the hidden states are where the next product reads. */
FN void forward_rnn(const Task *task, const Work *w, int64_t n)
{
    const int64_t step = n * w->row;
    const Product sums = {
        .rows = n,
        .inner = 2 * w->ones + task->input_size + task->hidden_size,
        .width = w->width,
        .c = w->reads + step + w->front,
        .c_row = w->row,
        .a = w->reads + w->inputs - w->ones,
        .a_row = w->row,
        .a_inner = 1,
        .b = w->params,
        .b_row = w->width,
        .steps = task->seq_len,
        .c_step = step,
        .a_step = step,
    };
    multiply_steps(&sums, TANH);
}

/* Turn the sums of one row (4·HP) into its gates, in place, and write h after the step. */
INLINE void gru_row(const Work *w, REAL *gates, const REAL *h_before, REAL *h_after)
{
    const int64_t HP = w->hidden;
    for (int64_t u = 0; u < HP; u += LANES) {
        const vec r = vector_sigmoid(AT(gates + HP + u));
        const vec z = vector_sigmoid(AT(gates + 2 * HP + u));
        const vec new = vector_tanh(AT(gates + u) + r * AT(gates + 3 * HP + u));
        AT(h_after + u) = new + z * (AT(h_before + u) - new);
        AT(gates + u) = new;
        AT(gates + HP + u) = r;
        AT(gates + 2 * HP + u) = z;
    }
}

FN void forward_gru(const Task *task, const Work *w, int64_t n)
{
    const int64_t HP = w->hidden;
    const int64_t row = w->row;
    for (int64_t t = 0; t < task->seq_len; t++) {
        REAL *reads = w->reads + t * n * row;
        REAL *gates = w->gates + t * n * w->blocks;
        Product sums = {
            .rows = n,
            .inner = w->ones + task->input_size,
            .width = w->width,
            .c = gates, /* n, r, z */
            .c_row = w->blocks,
            .a = reads + w->inputs - w->ones,
            .a_row = row,
            .a_inner = 1,
            .b = w->params,
            .b_row = w->width,
        };
        multiply(sums);

        for (int64_t i = 0; i < n; i++)
            memset(gates + i * w->blocks + 3 * HP, 0, HP * sizeof(REAL));
        sums.inner = w->ones + task->hidden_size;
        sums.add = 1;
        sums.c = gates + HP; /* r, z, m */
        sums.a = reads + w->front - w->ones;
        sums.b = w->params + w->w_hh;
        multiply(sums);

        for (int64_t i = 0; i < n; i++) {
            REAL *h = reads + i * row + w->front;
            gru_row(w, gates + i * w->blocks, h, h + n * row);
        }
    }
}

/* Turn the sums of one row (4·HP) into its gates, in place, and write c and h after the step. */
INLINE void lstm_row(const Work *w, REAL *gates, const REAL *c_before, REAL *c_after, REAL *tanh_c,
                     REAL *h_after)
{
    const int64_t HP = w->hidden;
    for (int64_t u = 0; u < HP; u += LANES) {
        const vec in = vector_sigmoid(AT(gates + u));
        const vec f = vector_sigmoid(AT(gates + HP + u));
        const vec g = vector_tanh(AT(gates + 2 * HP + u));
        const vec out = vector_sigmoid(AT(gates + 3 * HP + u));
        const vec c = f * AT(c_before + u) + in * g;
        const vec squashed = vector_tanh(c);
        AT(h_after + u) = out * squashed;
        AT(c_after + u) = c;
        AT(tanh_c + u) = squashed;
        AT(gates + u) = in;
        AT(gates + HP + u) = f;
        AT(gates + 2 * HP + u) = g;
        AT(gates + 3 * HP + u) = out;
    }
}

FN void forward_lstm(const Task *task, const Work *w, int64_t n)
{
    const int64_t HP = w->hidden;
    const int64_t row = w->row;
    for (int64_t t = 0; t < task->seq_len; t++) {
        REAL *reads = w->reads + t * n * row;
        REAL *gates = w->gates + t * n * w->blocks;
        multiply((Product){
            .rows = n,
            .inner = 2 * w->ones + task->input_size + task->hidden_size,
            .width = w->width,
            .c = gates,
            .c_row = w->blocks,
            .a = reads + w->inputs - w->ones,
            .a_row = row,
            .a_inner = 1,
            .b = w->params,
            .b_row = w->width,
        });
        for (int64_t i = 0; i < n; i++) {
            REAL *c = w->c + (t * n + i) * HP;
            REAL *tanh_c = w->tanh_c + (t * n + i) * HP;
            REAL *h_after = reads + (n + i) * row + w->front;
            lstm_row(w, gates + i * w->blocks, c, c + n * HP, tanh_c, h_after);
        }
    }
}

/* Write the logits of the hidden states that are read out. */
FN void forward_head(const Task *task, const Work *w, int64_t n)
{
    const int64_t O = task->output_size;
    const int64_t HP = w->hidden;
    for (int64_t i = 0; i < (task->seq_len - w->from) * n; i++) {
        const REAL *h = w->reads + ((w->from + 1) * n + i) * w->row + w->front;
        for (int64_t o = 0; o < O; o++) {
            const REAL *weight = w->params + w->head + o * HP;
            vec sum = {0};
            for (int64_t u = 0; u < HP; u += LANES)
                sum += AT(h + u) * AT(weight + u);
            w->logits[i * O + o] = lane_sum(sum) + w->params[w->head_bias + o];
        }
    }
}

FN void forward(const Task *task, const Work *w, int64_t model, const int64_t *rows, int64_t n)
{
    read_inputs(task, w, model, rows, n);
    switch ((enum Cell)task->cell) {
    case RNN_TANH:
        forward_rnn(task, w, n);
        break;
    case GRU:
        forward_gru(task, w, n);
        break;
    case LSTM:
        forward_lstm(task, w, n);
        break;
    }
    forward_head(task, w, n);
}

/* -- backward: the gradients of the sums take the place of the activations */

/* Write W_hh by rows of gates, (G, H, HP), for the backward pass. */
FN void transpose_recurrent(const Task *task, const Work *w)
{
    const int64_t H = task->hidden_size;
    const int64_t HP = w->hidden;
    const int64_t width = w->width;
    const int64_t last = H - 1;
    for (int64_t gate = 0; gate < width / HP; gate++) {
        const REAL *from = w->params + w->w_hh + w->ones * width + gate * HP;
        REAL *to = w->back + gate * H * HP;
        /* Four at once, in half as many loads and stores. */
        for (int64_t u = 0; u < last; u += 2)
            for (int64_t k = 0; k < last; k += 2) {
                const pair upper = *(pair *)(from + k * width + u);
                const pair lower = *(pair *)(from + (k + 1) * width + u);
                *(pair *)(to + u * HP + k) = (pair){upper[0], lower[0]};
                *(pair *)(to + (u + 1) * HP + k) = (pair){upper[1], lower[1]};
            }
        for (int64_t k = 0; H % 2 == 1 && k < H; k++) {
            to[last * HP + k] = from[k * width + last];
            to[k * HP + last] = from[last * width + k];
        }
    }
}

/* Write the gradients of the hidden states and, in the same pass, of the sums:
 * da_t = (1 - h_t²) ∘ dh_t. */
FN void backward_rnn(const Task *task, const Work *w, int64_t n)
{
    const int64_t T = task->seq_len;
    const int64_t O = task->output_size;
    const int64_t HP = w->hidden;
    const int64_t step = n * HP;
    const int64_t y_step = n * w->row;

    multiply((Product){
        .rows = (T - w->from) * n,
        .inner = O,
        .width = HP,
        .c = w->gates + w->from * step,
        .c_row = HP,
        .a = w->logits,
        .a_row = O,
        .a_inner = 1,
        .b = w->params + w->head,
        .b_row = HP,
    });

    /* The last step has no step after it: an empty product, then tanh. */
    Product sums = {
        .rows = n,
        .width = HP,
        .add = 1,
        .c = w->gates + (T - 1) * step,
        .c_row = HP,
        .a_row = HP,
        .a_inner = 1,
        .b = w->back,
        .b_row = HP,
        .y = w->reads + T * y_step + w->front,
        .y_row = w->row,
        .steps = 1,
        .c_step = -step,
        .a_step = -step,
        .y_step = -y_step,
    };
    multiply_steps(&sums, TANH_BACK);

    /* The other steps add the gradient that the next step hands back. */
    sums.inner = task->hidden_size;
    sums.add = task->every_step;
    sums.a = sums.c;
    sums.c -= step;
    sums.y -= y_step;
    sums.steps = T - 1;
    multiply_steps(&sums, TANH_BACK);
}

/* Add the gradient that comes from the logits of step t to dh. */
FN void add_from_head(const Task *task, const Work *w, int64_t n, int64_t t)
{
    const int64_t O = task->output_size;
    multiply((Product){
        .rows = n,
        .inner = O,
        .width = w->hidden,
        .add = 1,
        .c = w->dh,
        .c_row = w->hidden,
        .a = w->logits + (t - w->from) * n * O,
        .a_row = O,
        .a_inner = 1,
        .b = w->params + w->head,
        .b_row = w->hidden,
    });
}

/* Make dh that of the step before t: the sum over the gates of da·W_hh, added to dh with `add`. */
FN void hand_back(const Task *task, const Work *w, int64_t n, int64_t t, int64_t add)
{
    const int64_t HP = w->hidden;
    const REAL *da = w->gates + t * n * w->blocks + w->blocks - w->width;
    for (int64_t gate = 0; gate < w->width / HP; gate++)
        multiply((Product){
            .rows = n,
            .inner = task->hidden_size,
            .width = HP,
            .add = add || gate > 0,
            .c = w->dh,
            .c_row = HP,
            .a = da + gate * HP,
            .a_row = w->blocks,
            .a_inner = 1,
            .b = w->back + gate * task->hidden_size * HP,
            .b_row = HP,
        });
}

/* Write da of one row in place of its gates; dh keeps the part that goes directly to the previous
 * h. */
INLINE void gru_row_back(const Work *w, REAL *gates, const REAL *h_before, REAL *dh)
{
    const int64_t HP = w->hidden;
    for (int64_t u = 0; u < HP; u += LANES) {
        const vec new = AT(gates + u);
        const vec r = AT(gates + HP + u);
        const vec z = AT(gates + 2 * HP + u);
        const vec dn = AT(dh + u) * (1 - z) * (1 - new * new);
        AT(gates + u) = dn;
        AT(gates + HP + u) = dn * AT(gates + 3 * HP + u) * r * (1 - r);
        AT(gates + 2 * HP + u) = AT(dh + u) * (AT(h_before + u) - new) * z * (1 - z);
        AT(gates + 3 * HP + u) = dn * r;
        AT(dh + u) *= z;
    }
}

FN void backward_gru(const Task *task, const Work *w, int64_t n)
{
    memset(w->dh, 0, n * w->hidden * sizeof(REAL));
    for (int64_t t = task->seq_len - 1; t >= 0; t--) {
        REAL *gates = w->gates + t * n * w->blocks;
        const REAL *h_before = w->reads + t * n * w->row + w->front;
        if (t >= w->from)
            add_from_head(task, w, n, t);
        for (int64_t i = 0; i < n; i++)
            gru_row_back(w, gates + i * w->blocks, h_before + i * w->row, w->dh + i * w->hidden);
        if (t > 0)
            hand_back(task, w, n, t, 1);
    }
}

/* Write da of one row in place of its gates, and dc of the previous step. */
INLINE void lstm_row_back(const Work *w, REAL *gates, const REAL *c_before, const REAL *tanh_c,
                          const REAL *dh, REAL *dc)
{
    const int64_t HP = w->hidden;
    for (int64_t u = 0; u < HP; u += LANES) {
        const vec in = AT(gates + u);
        const vec f = AT(gates + HP + u);
        const vec g = AT(gates + 2 * HP + u);
        const vec out = AT(gates + 3 * HP + u);
        const vec squashed = AT(tanh_c + u);
        AT(dc + u) += AT(dh + u) * out * (1 - squashed * squashed);
        AT(gates + u) = AT(dc + u) * g * in * (1 - in);
        AT(gates + HP + u) = AT(dc + u) * AT(c_before + u) * f * (1 - f);
        AT(gates + 2 * HP + u) = AT(dc + u) * in * (1 - g * g);
        AT(gates + 3 * HP + u) = AT(dh + u) * squashed * out * (1 - out);
        AT(dc + u) *= f;
    }
}

FN void backward_lstm(const Task *task, const Work *w, int64_t n)
{
    const int64_t HP = w->hidden;
    memset(w->dh, 0, n * HP * sizeof(REAL));
    memset(w->dc, 0, n * HP * sizeof(REAL));
    for (int64_t t = task->seq_len - 1; t >= 0; t--) {
        REAL *gates = w->gates + t * n * w->blocks;
        const REAL *c_before = w->c + t * n * HP;
        const REAL *tanh_c = w->tanh_c + t * n * HP;
        if (t >= w->from)
            add_from_head(task, w, n, t);
        for (int64_t i = 0; i < n; i++)
            lstm_row_back(w, gates + i * w->blocks, c_before + i * HP, tanh_c + i * HP,
                          w->dh + i * HP, w->dc + i * HP);
        if (t > 0)
            hand_back(task, w, n, t, 0);
    }
}

/* Write the gradients of the recurrent layer's parameters: the rows that were read, times da. */
FN void backward_weights(const Task *task, const Work *w, int64_t n, int add)
{
    Product weights = {
        .rows = 2 * w->ones + task->input_size + task->hidden_size,
        .inner = task->seq_len * n,
        .width = w->width,
        .add = add,
        .c = w->grads,
        .c_row = w->width,
        .a = w->reads + w->inputs - w->ones,
        .a_row = 1,
        .a_inner = w->row,
        .b = w->gates,
        .b_row = w->blocks,
    };
    if (task->cell == GRU) { /* the inputs with n, r, z, then the hidden states with r, z, m */
        weights.rows = w->ones + task->input_size;
        multiply(weights);
        weights.rows = w->ones + task->hidden_size;
        weights.c = w->grads + w->w_hh;
        weights.a = w->reads + w->front - w->ones;
        weights.b = w->gates + w->hidden;
    }
    multiply(weights);
}

/* Write the gradients of the head's weight and bias. */
FN void backward_head(const Task *task, const Work *w, int64_t n, int add)
{
    const int64_t O = task->output_size;
    const int64_t rows = (task->seq_len - w->from) * n;
    multiply((Product){
        .rows = O,
        .inner = rows,
        .width = w->hidden,
        .add = add,
        .c = w->grads + w->head,
        .c_row = w->hidden,
        .a = w->logits,
        .a_row = 1,
        .a_inner = O,
        .b = w->reads + (w->from + 1) * n * w->row + w->front,
        .b_row = w->row,
    });
    for (int64_t o = 0; o < O; o++) {
        REAL sum = add ? w->grads[w->head_bias + o] : 0;
        for (int64_t i = 0; i < rows; i++)
            sum += w->logits[i * O + o];
        w->grads[w->head_bias + o] = sum;
    }
}

/* Set the gradients of the parameters from those of the logits; with `add`, add them to those of
 * the previous pieces. */
FN void backward(const Task *task, const Work *w, int64_t n, int add)
{
    switch ((enum Cell)task->cell) {
    case RNN_TANH:
        backward_rnn(task, w, n);
        break;
    case GRU:
        backward_gru(task, w, n);
        break;
    case LSTM:
        backward_lstm(task, w, n);
        break;
    }
    backward_weights(task, w, n, add);
    backward_head(task, w, n, add);
}
