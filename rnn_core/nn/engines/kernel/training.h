/* Training: pieces of a batch, batches of an epoch, epochs of a model, models of a call. */

/* Write the rows of a batch, without -1; return their number. */
FN int64_t present_rows(const Task *task, const Work *w, const int64_t *batch)
{
    int64_t n = 0;
    for (int64_t i = 0; i < task->batch; i++)
        if (batch[i] >= 0) {
            w->seats[n] = i;
            w->rows[n++] = batch[i];
        }
    return n;
}

/* Return the summed loss of the n rows of a batch; with `learn`, set its gradient. */
FN double run_batch(const Task *task, const Work *w, int64_t model, int64_t n, REAL weight,
                    const int learn)
{
    double loss = 0;
    for (int64_t start = 0; start < n; start += w->piece) {
        const int64_t left = n - start;
        const Piece piece = {
            .rows = w->rows + start,
            .seats = w->seats + start,
            .n = left < w->piece ? left : w->piece,
        };
        forward(task, w, model, &piece);
        loss += score(task, w, piece.rows, piece.n, weight);
        if (learn)
            backward(task, w, &piece, start > 0);
    }
    return loss;
}

/* Train a model for one epoch on `rows` (steps, batch), `updates` after the first; return the mean
 * loss, NaN if nothing was scored. */
FN double train_epoch(const Task *task, Work *w, int64_t model, const int64_t *rows, double rate,
                      int64_t updates)
{
    double total = 0;
    double count = 0;
    for (int64_t step = 0; step < task->steps && task->frozen[model] < 0; step++) {
        const int64_t n = present_rows(task, w, rows + step * task->batch);
        int64_t scored;
        const REAL weight = loss_weight(task, w->rows, n, &scored);
        if (w->dropping)
            draw_kept(task, w, model);
        if (scored == 0)
            continue;
        transpose_weights(task, w);
        total += run_batch(task, w, model, n, weight, 1) / weight * scored;
        count += scored;
        if (!update(task, w, model, rate))
            task->frozen[model] = updates + step;
    }
    return count > 0 ? total / count : NAN;
}

FN void train_model(const Task *task, Work *w, int64_t model)
{
    load(task, w, task->params, model, w->params);
    load(task, w, task->first, model, w->first);
    load(task, w, task->second, model, w->second);
    /* `backward` sets all of the gradient except for the padding of the head's bias. */
    memset(w->grads, 0, w->size * sizeof(REAL));

    for (int64_t e = 0; e < task->epochs; e++) {
        const int64_t at = model * task->epochs + e;
        const int64_t *rows = task->rows + at * task->steps * task->batch;
        const int64_t updates = task->updates + e * task->steps;
        task->losses[at] = train_epoch(task, w, model, rows, task->rate[at], updates);
    }

    store(task, w, task->params, model, w->params);
    store(task, w, task->first, model, w->first);
    store(task, w, task->second, model, w->second);
}

/* Train the chosen models; return an Outcome. */
FN int train_models(const Task *task)
{
    Work w;
    const int ready = prepare(task, &w, 1);
    for (int64_t m = 0; ready && m < task->models; m++)
        train_model(task, &w, task->chosen[m]);
    release(&w);
    return ready ? DONE : NO_MEMORY;
}

/* Write the loss of each chosen model over its rows, which are one batch of one epoch; return an
 * Outcome. */
FN int mean_losses(const Task *task)
{
    Work w;
    const int ready = prepare(task, &w, 0);
    for (int64_t m = 0; ready && m < task->models; m++) {
        const int64_t model = task->chosen[m];
        const int64_t n = present_rows(task, &w, task->rows + model * task->batch);
        int64_t scored;
        const REAL weight = loss_weight(task, w.rows, n, &scored);
        load(task, &w, task->params, model, w.params);
        task->losses[model] = run_batch(task, &w, model, n, weight, 0) / weight;
    }
    release(&w);
    return ready ? DONE : NO_MEMORY;
}
