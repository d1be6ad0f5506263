/* The network: inputs to logits, and the gradients of the logits to those of all parameters. What
 * stands between the scans is copied from one to the other. */

/* -- dropout */

/* Draw what is kept between the layers for a whole batch, in the order of layers/recurrence.py: the
 * pieces of a truncated series one after the other, each layer by layer. */
FN void draw_kept(const Task *task, const Work *w, int64_t model)
{
    const int64_t at_a_time = task->batch * w->features;
    const float p = (float)task->dropout;
    const Draw draw = task->draw[model];
    for (int64_t start = 0; start < task->seq_len; start += task->truncate)
        for (int64_t layer = 0; layer + 1 < task->num_layers; layer++)
            for (int64_t t = start; t < task->seq_len && t < start + task->truncate; t++) {
                uint8_t *kept = w->kept + (layer * task->seq_len + t) * at_a_time;
                for (int64_t k = 0; k < at_a_time; k++)
                    kept[k] = (draw(task->streams[model]) >> 8) * 0x1p-24f >= p;
            }
}

/* Return what is kept of the outputs of `layer` for one row at one time, (F); NULL: all. */
INLINE const uint8_t *kept_of(const Task *task, const Work *w, const Piece *piece, int64_t layer,
                              int64_t time, int64_t i)
{
    if (!w->dropping)
        return NULL;
    return w->kept + ((layer * task->seq_len + time) * task->batch + piece->seats[i]) * w->features;
}

/* Write `count` values, or add them, with zeros for what is not kept. */
INLINE void copy_kept(const Task *task, REAL *to, const REAL *from, const uint8_t *kept,
                      int64_t count, int add)
{
    const REAL scale = (REAL)(1 / (1 - task->dropout));
    for (int64_t k = 0; k < count; k++) {
        const REAL value = kept ? from[k] * (kept[k] ? scale : 0) : from[k];
        to[k] = add ? to[k] + value : value;
    }
}

/* -- forward */

/* Write the inputs of a scan of the first layer, standardised for the model. */
FN void read_inputs(const Task *task, const Scan *scan, int64_t model, const Piece *piece)
{
    const int64_t n = piece->n;
    const int64_t T = task->seq_len;
    const int64_t I = task->input_size;
    const REAL *x = task->x;
    const REAL *center = (const REAL *)task->center + model * I;
    const REAL *scale = (const REAL *)task->scale + model * I;
    for (int64_t k = 0; k < I; k++) {
        const REAL mean = center[k];
        const REAL shrink = 1 / scale[k];
        REAL *read = scan->reads + scan->inputs + k;
        for (int64_t t = 0; t < T; t++)
            for (int64_t i = 0; i < n; i++, read += scan->row) {
                const int64_t length = length_of(task, piece, i);
                const int64_t at = piece->rows[i] * T + turned(scan, t, length);
                *read = t < length ? (x[at * I + k] - mean) * shrink : 0;
            }
    }
}

/* Copy the outputs of a layer to the scans of the next. */
FN void pass_up(const Task *task, const Work *w, int64_t layer, const Piece *piece)
{
    const int64_t n = piece->n;
    const int64_t H = task->hidden_size;
    for (int64_t to = 0; to < task->directions; to++)
        for (int64_t from = 0; from < task->directions; from++) {
            const Scan *upper = scan_of(task, w, layer + 1, to);
            const Scan *lower = scan_of(task, w, layer, from);
            for (int64_t t = 0; t < task->seq_len; t++)
                for (int64_t i = 0; i < n; i++) {
                    const int64_t length = length_of(task, piece, i);
                    const int64_t time = turned(lower, t, length);
                    const int64_t step = turned(upper, time, length);
                    const uint8_t *kept = kept_of(task, w, piece, layer, time, i);
                    copy_kept(task,
                              upper->reads + (step * n + i) * upper->row + upper->inputs + from * H,
                              lower->reads + ((t + 1) * n + i) * lower->row + lower->front,
                              kept ? kept + from * H : NULL, H, 0);
                }
        }
}

/* Copy the top layer's hidden states that are read out: the last ones, or those of every time. */
FN void read_out(const Task *task, const Work *w, const Piece *piece)
{
    const int64_t n = piece->n;
    const int64_t H = task->hidden_size;
    for (int64_t d = 0; d < task->directions; d++) {
        const Scan *top = scan_of(task, w, task->num_layers - 1, d);
        for (int64_t s = 0; s < w->steps; s++)
            for (int64_t i = 0; i < n; i++) {
                const int64_t length = length_of(task, piece, i);
                const int64_t step = task->every_step ? turned(top, s, length) : task->seq_len - 1;
                const int64_t over = task->every_step && s >= length;
                REAL *feature = w->feature + (s * n + i) * (LANES + w->read) + LANES + d * H;
                if (over)
                    memset(feature, 0, H * sizeof(REAL));
                else
                    memcpy(feature, top->reads + ((step + 1) * n + i) * top->row + top->front,
                           H * sizeof(REAL));
            }
    }
}

/* Return what the head reads, in rows of `*row`: the features, or the outputs of the tanh layer. */
INLINE const REAL *head_reads(const Task *task, const Work *w, int64_t *row)
{
    *row = task->tanh_head ? w->read : LANES + w->read;
    return task->tanh_head ? w->squashed : w->feature + LANES;
}

/* Write the logits of what is read out. */
FN void head_forward(const Task *task, const Work *w, int64_t n)
{
    const int64_t O = task->output_size;
    const int64_t FP = w->read;
    if (task->tanh_head) {
        multiply(&(Product){
            .rows = w->steps * n,
            .inner = 1 + w->features,
            .width = FP,
            .c = w->squashed,
            .c_row = FP,
            .a = w->feature + LANES - 1,
            .a_row = LANES + FP,
            .a_inner = 1,
            .b = w->params + w->hidden_layer,
            .b_row = FP,
        });
        tanh_array(w->squashed, w->squashed, w->steps * n * FP);
    }
    int64_t row;
    const REAL *reads = head_reads(task, w, &row);
    for (int64_t i = 0; i < w->steps * n; i++)
        for (int64_t o = 0; o < O; o++) {
            const REAL *weight = w->params + w->head + o * FP;
            vec sum = {0};
            for (int64_t f = 0; f < FP; f += LANES)
                sum += AT(reads + i * row + f) * AT(weight + f);
            w->logits[i * O + o] = lane_sum(sum) + w->params[w->head_bias + o];
        }
}

FN void forward(const Task *task, const Work *w, int64_t model, const Piece *piece)
{
    for (int64_t layer = 0; layer < task->num_layers; layer++) {
        if (layer > 0)
            pass_up(task, w, layer - 1, piece);
        for (int64_t d = 0; d < task->directions; d++) {
            const Scan *scan = scan_of(task, w, layer, d);
            if (layer == 0)
                read_inputs(task, scan, model, piece);
            scan_forward(task, w, scan, piece);
        }
    }
    read_out(task, w, piece);
    head_forward(task, w, piece->n);
}

/* -- backward */

/* Write all weights by rows of gates, or of outputs. */
FN void transpose_weights(const Task *task, const Work *w)
{
    for (int64_t k = 0; k < w->scan_count; k++)
        transpose_scan(task, w, w->scans + k);
    if (task->tanh_head)
        transpose(w->params + w->hidden_layer + w->read, w->read, w->features, w->features,
                  w->unsquash, w->read);
}

/* Write the gradients of the head's weight and bias. */
FN void head_weights_backward(const Task *task, const Work *w, int64_t n, int add)
{
    const int64_t O = task->output_size;
    int64_t row;
    const REAL *reads = head_reads(task, w, &row);
    multiply(&(Product){
        .rows = O,
        .inner = w->steps * n,
        .width = w->read,
        .add = add,
        .c = w->grads + w->head,
        .c_row = w->read,
        .a = w->logits,
        .a_row = 1,
        .a_inner = O,
        .b = reads,
        .b_row = row,
    });
    for (int64_t o = 0; o < O; o++) {
        REAL sum = add ? w->grads[w->head_bias + o] : 0;
        for (int64_t i = 0; i < w->steps * n; i++)
            sum += w->logits[i * O + o];
        w->grads[w->head_bias + o] = sum;
    }
}

/* Set the gradients of the head's parameters; return those of the features (S, n, FP). */
FN const REAL *head_backward(const Task *task, const Work *w, int64_t n, int add)
{
    const int64_t FP = w->read;
    const int64_t rows = w->steps * n;
    head_weights_backward(task, w, n, add);
    multiply(&(Product){
        .rows = rows,
        .inner = task->output_size,
        .width = FP,
        .c = w->d_feature,
        .c_row = FP,
        .a = w->logits,
        .a_row = task->output_size,
        .a_inner = 1,
        .b = w->params + w->head,
        .b_row = FP,
    });
    if (!task->tanh_head)
        return w->d_feature;

    for (int64_t k = 0; k < rows * FP; k += LANES) {
        const vec y = AT(w->squashed + k);
        AT(w->d_feature + k) *= 1 - y * y;
    }
    multiply(&(Product){
        .rows = 1 + w->features,
        .inner = rows,
        .width = FP,
        .add = add,
        .c = w->grads + w->hidden_layer,
        .c_row = FP,
        .a = w->feature + LANES - 1,
        .a_row = 1,
        .a_inner = LANES + FP,
        .b = w->d_feature,
        .b_row = FP,
    });
    multiply(&(Product){
        .rows = rows,
        .inner = w->features,
        .width = FP,
        .c = w->squashed, /* read for the last time above */
        .c_row = FP,
        .a = w->d_feature,
        .a_row = FP,
        .a_inner = 1,
        .b = w->unsquash,
        .b_row = FP,
    });
    return w->squashed;
}

/* Write the gradients of the features where the scans of the top layer find them; return the first
 * step that has some. */
FN int64_t read_out_back(const Task *task, const Work *w, const REAL *d_feature,
                         const Piece *piece)
{
    const int64_t n = piece->n;
    const int64_t H = task->hidden_size;
    int64_t first = task->every_step ? 0 : task->seq_len - 1;
    for (int64_t i = 0; i < n; i++)
        if (length_of(task, piece, i) - 1 < first)
            first = length_of(task, piece, i) - 1;
    for (int64_t d = 0; d < task->directions; d++) {
        const Scan *top = scan_of(task, w, task->num_layers - 1, d);
        if (task->lengths)
            memset(top->above, 0, task->seq_len * n * w->hidden * sizeof(REAL));
        for (int64_t s = 0; s < w->steps; s++)
            for (int64_t i = 0; i < n; i++) {
                const int64_t length = length_of(task, piece, i);
                const int64_t step = task->every_step ? turned(top, s, length) : length - 1;
                if (step < length)
                    memcpy(top->above + (step * n + i) * w->hidden,
                           d_feature + (s * n + i) * w->read + d * H, H * sizeof(REAL));
            }
    }
    return first;
}

/* Hand the gradients of the inputs of one scan down to the layer below; `add` is 0 for the first
 * scan of a layer. */
FN void pass_down(const Task *task, const Work *w, int64_t layer, const Scan *upper,
                  const Piece *piece, int add)
{
    const int64_t n = piece->n;
    const int64_t H = task->hidden_size;
    multiply(&(Product){
        .rows = task->seq_len * n,
        .inner = w->width,
        .width = upper->padded,
        .c = w->dx,
        .c_row = upper->padded,
        .a = upper->gates,
        .a_row = w->blocks,
        .a_inner = 1,
        .b = upper->down,
        .b_row = upper->padded,
    });
    for (int64_t d = 0; d < task->directions; d++) {
        const Scan *lower = scan_of(task, w, layer, d);
        for (int64_t t = 0; t < task->seq_len; t++)
            for (int64_t i = 0; i < n; i++) {
                const int64_t length = length_of(task, piece, i);
                const int64_t time = turned(upper, t, length);
                const int64_t step = turned(lower, time, length);
                const uint8_t *kept = kept_of(task, w, piece, layer, time, i);
                copy_kept(task, lower->above + (step * n + i) * w->hidden,
                          w->dx + (t * n + i) * upper->padded + d * H, kept ? kept + d * H : NULL,
                          H, add);
            }
    }
}

/* Set the gradients of the parameters from those of the logits; with `add`, add them to those of
 * the previous pieces. */
FN void backward(const Task *task, const Work *w, const Piece *piece, int add)
{
    const REAL *d_feature = head_backward(task, w, piece->n, add);
    int64_t from = read_out_back(task, w, d_feature, piece);
    for (int64_t layer = task->num_layers - 1; layer >= 0; layer--, from = 0)
        for (int64_t d = 0; d < task->directions; d++) {
            const Scan *scan = scan_of(task, w, layer, d);
            scan_backward(task, w, scan, from, piece->n, add);
            if (layer > 0)
                pass_down(task, w, layer - 1, scan, piece, d > 0);
        }
}
