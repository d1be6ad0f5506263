/* The losses, from logits: their sums and gradients. The equations are those of losses.py. */

/* Return the divisor of the rows' losses, and in `scored` the number of their scored steps. */
FN REAL loss_weight(const Task *task, const int64_t *rows, int64_t n, int64_t *scored)
{
    const int64_t S = task->every_step ? task->seq_len : 1;
    const int64_t O = task->output_size;
    const REAL *class_weights = task->class_weights;
    double total = 0;
    *scored = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t s = rows[i] * S; s < (rows[i] + 1) * S; s++) {
            if (!task->mask[s])
                continue;
            const REAL *y = (const REAL *)task->y + s * O;
            *scored += 1;
            switch ((enum Loss)task->loss) {
            case BINARY_CROSS_ENTROPY:
            case TEXTBOOK_CROSS_ENTROPY:
            case BRIER:
                for (int64_t o = 0; o < O; o++)
                    total += class_weights[0] * (1 - y[o]) + class_weights[1] * y[o];
                break;
            case CROSS_ENTROPY:
                for (int64_t o = 0; o < O; o++)
                    total += class_weights[o] * y[o];
                break;
            case MEAN_SQUARED_ERROR:
                total += O;
                break;
            }
        }
    return total > 0 ? total : 1;
}

/* The functions below score one logit z against its target y: they add its loss to `total` and
 * replace it by the gradient, divided by `weight`. */

INLINE void score_binary(enum Loss loss, const REAL *class_weights, REAL *z, REAL y, REAL weight,
                         double *total)
{
    const REAL down = class_weights[0] * (1 - y);
    const REAL up = class_weights[1] * y;
    const REAL both = down + up;
    const REAL decay = exp(-fabs(*z));
    const REAL p = (*z < 0 ? decay : 1) / (1 + decay);
    const REAL error = p - y;
    if (loss == BRIER)
        *total += both * error * error;
    else if (loss == TEXTBOOK_CROSS_ENTROPY)
        *total -= up * log(p + (REAL)1e-8) + down * log(1 - p + (REAL)1e-8);
    else
        *total += both * log1p(decay) + (*z < 0 ? -up : down) * *z;
    *z = (loss == BRIER ? 2 * both * error * p * (1 - p) : both * p - up) / weight;
}

/* The parts of the softmax of one row of logits. */
typedef struct {
    REAL largest;
    REAL sum; /* of exp(z - largest) */
    REAL hits; /* of class weights times targets */
} Softmax;

INLINE Softmax softmax_of(const REAL *class_weights, const REAL *z, const REAL *y, int64_t O)
{
    Softmax of = {.largest = z[0]};
    for (int64_t o = 0; o < O; o++)
        of.largest = z[o] > of.largest ? z[o] : of.largest;
    for (int64_t o = 0; o < O; o++) {
        of.sum += exp(z[o] - of.largest);
        of.hits += class_weights[o] * y[o];
    }
    return of;
}

INLINE void score_softmax(const Softmax *of, REAL class_weight, REAL *z, REAL y, REAL weight,
                          double *total)
{
    const REAL hit = class_weight * y;
    const REAL log_softmax = *z - of->largest - log(of->sum);
    *z = (exp(log_softmax) * of->hits - hit) / weight;
    *total -= hit * log_softmax;
}

INLINE void score_squared(REAL *z, REAL y, REAL weight, double *total)
{
    const REAL error = *z - y;
    *total += error * error;
    *z = 2 * error / weight;
}

/* Return the summed loss of the rows; their logits become its gradients, divided by `weight`. */
FN double score(const Task *task, const Work *w, const int64_t *rows, int64_t n, REAL weight)
{
    const int64_t S = task->every_step ? task->seq_len : 1;
    const int64_t O = task->output_size;
    const REAL *class_weights = task->class_weights;
    double total = 0;
    for (int64_t s = 0; s < S; s++)
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = rows[i] * S + s;
            const REAL *y = (const REAL *)task->y + at * O;
            REAL *z = w->logits + (s * n + i) * O;
            if (!task->mask[at]) {
                memset(z, 0, O * sizeof(REAL));
                continue;
            }
            Softmax softmax = {0};
            if (task->loss == CROSS_ENTROPY)
                softmax = softmax_of(class_weights, z, y, O);
            for (int64_t o = 0; o < O; o++)
                switch ((enum Loss)task->loss) {
                case BINARY_CROSS_ENTROPY:
                case TEXTBOOK_CROSS_ENTROPY:
                case BRIER:
                    score_binary(task->loss, class_weights, z + o, y[o], weight, &total);
                    break;
                case CROSS_ENTROPY:
                    score_softmax(&softmax, class_weights[o], z + o, y[o], weight, &total);
                    break;
                case MEAN_SQUARED_ERROR:
                    score_squared(z + o, y[o], weight, &total);
                    break;
                }
        }
    return total;
}
