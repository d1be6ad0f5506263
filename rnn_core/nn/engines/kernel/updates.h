/* The update rules and the clipping of gradients. The equations are those of optim.py. */

/* The constants of an update, the same for all parameters of a model. */
typedef struct {
    REAL clip_value;
    REAL clip_scale; /* reduces the gradient's norm to clip_norm; 1 if it is below */
    REAL length;     /* the learning rate; of Adam divided by the bias of the first moment */
    REAL momentum;
    REAL beta2;
    REAL fresh1; /* 1 - beta1 */
    REAL fresh2; /* 1 - beta2 */
    REAL root_bias; /* the square root of the bias of the second moment */
    REAL eps;
    REAL added_decay;     /* times the parameters, to the gradient */
    REAL decoupled_decay; /* times the parameters, to the step: of adamw */
} Constants;

/* Return the factor that keeps the gradient, after clip_value, within clip_norm. */
FN REAL clip_scale(const Task *task, const Work *w)
{
    const vec bound = broadcast(task->clip_value);
    vec square = {0};
    for (int64_t k = 0; k < w->size; k += LANES) {
        const vec g = vector_clip(AT(w->grads + k), bound);
        square += g * g;
    }
    const REAL scale = (REAL)task->clip_norm / (sqrt(lane_sum(square)) + (REAL)1e-6);
    return scale > 1 ? 1 : scale;
}

/* Return the constants of the update of Adam that is number `count`, or of one of sgd. */
FN Constants constants_of(const Task *task, double rate, double count)
{
    const int adam = task->rule != SGD;
    const int decoupled = task->rule == ADAMW;
    return (Constants){
        .clip_value = task->clip_value,
        .clip_scale = 1,
        .length = adam ? rate / (1 - pow(task->beta1, count)) : rate,
        .momentum = task->momentum,
        .beta2 = task->beta2,
        .fresh1 = 1 - task->beta1,
        .fresh2 = 1 - task->beta2,
        .root_bias = adam ? sqrt(1 - pow(task->beta2, count)) : 1,
        .eps = task->eps,
        .added_decay = decoupled ? 0 : task->weight_decay,
        .decoupled_decay = decoupled ? rate * task->weight_decay : 0,
    };
}

/* Put the parameters after one step where the gradient was; return whether gradient and step are
 * finite. `plain` is sgd without momentum, decay and clip_norm. */
INLINE int try_step(const Work *w, const Constants *constants, const int adam, const int plain)
{
    const vec bound = broadcast(constants->clip_value);
    vec bad_grads = {0}; /* stays zero if all are finite, as a finite value times zero is zero */
    vec bad_steps = {0};
    for (int64_t k = 0; k < w->size; k += LANES) {
        const vec given = AT(w->grads + k);
        const vec before = AT(w->params + k);
        const vec clipped = vector_clip(given, bound);
        vec step;
        if (plain) {
            step = constants->length * clipped;
        } else {
            const vec g = clipped * constants->clip_scale + constants->added_decay * before;
            const vec first = AT(w->first + k);
            if (adam) {
                const vec mean = first + constants->fresh1 * (g - first);
                const vec kept = AT(w->second + k) * constants->beta2;
                const vec square = kept + constants->fresh2 * (g * g);
                const vec root = vector_sqrt(square) / constants->root_bias;
                step = constants->length * (mean / (root + constants->eps));
                AT(w->first + k) = mean;
                AT(w->second + k) = square;
            } else {
                const vec velocity = first * constants->momentum + g;
                step = constants->length * velocity;
                AT(w->first + k) = velocity;
            }
            step += constants->decoupled_decay * before;
        }
        bad_grads += given * 0;
        bad_steps += step * 0;
        AT(w->grads + k) = before - step;
    }
    for (int lane = 0; lane < LANES; lane++)
        if (bad_grads[lane] != 0 || bad_steps[lane] != 0)
            return 0;
    return 1;
}

/* Make one step of the rule; return whether gradient and step are finite. If they are not, the
 * parameters do not change. */
FN int update(const Task *task, Work *w, int64_t model, double rate)
{
    const int adam = task->rule != SGD;
    const int clipped = task->clip_norm < INFINITY;
    const double count = adam ? task->step[model] += 1 : 0;

    Constants constants = constants_of(task, rate, count);
    if (clipped)
        constants.clip_scale = clip_scale(task, w);

    int finite;
    if (adam)
        finite = try_step(w, &constants, 1, 0);
    else if (!clipped && task->momentum == 0 && task->weight_decay == 0)
        finite = try_step(w, &constants, 0, 1);
    else
        finite = try_step(w, &constants, 0, 0);

    if (finite) {
        REAL *const before = w->params;
        w->params = w->grads;
        w->grads = before;
    }
    return finite;
}
