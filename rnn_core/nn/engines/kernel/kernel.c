/* The NumPy engine in C: recurrent networks, trained by backpropagation through time.
 *
 * The equations are those of layers/, losses.py and optim.py in rnn_core/nn; __init__.py says which
 * trainings are covered, and makes the calls. A call trains some models of a stack one after the
 * other, each through whole epochs, in the memory of one model and one piece of a batch. Calls
 * share nothing, so they may run on threads.
 *
 * This file holds what Python sees: the task, the codes, and the choice of an instruction set.
 * The arithmetic is in template.h and is compiled six times: for each of three instruction
 * sets in each of two precisions.
 *
 * Axes, here and in the headers: T steps, n rows of a piece, I inputs, H hidden units (HP when
 * padded to whole vectors), G gates, L layers, D directions, F = D·H features and S steps that are
 * read out, O outputs.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>
#undef I /* an axis here, not the imaginary unit */

/* -- the task */

/* The codes that Python sends. A number never gets another meaning: a library that was built
 * earlier would give it the old one. */
enum Cell { RNN_TANH = 1, GRU = 2, LSTM = 3, RNN_RELU = 4, RNN_SIGMOID = 5, RNN_PRELU = 6 };
enum Loss {
    BINARY_CROSS_ENTROPY = 1,
    TEXTBOOK_CROSS_ENTROPY = 2,
    BRIER = 3,
    CROSS_ENTROPY = 4,
    MEAN_SQUARED_ERROR = 5
};
enum Rule { SGD = 1, ADAM = 2, ADAMW = 3 };
enum Outcome { DONE = 0, NO_MEMORY = -1, UNKNOWN_CODE = -2 };

typedef uint32_t (*Draw)(void *stream);

/* The arguments of a call: field by field the Task of __init__.py. Arrays of `void` are in the
 * precision of the task. The stack has M models; this call trains `models` of them. */
typedef struct {
    int64_t instruction_set;
    int64_t single_precision;
    int64_t cell;
    int64_t bias;
    int64_t num_layers;
    int64_t directions; /* 1 or 2 */
    int64_t every_step; /* read out every step, not only the last */
    int64_t tanh_head;
    int64_t loss;
    int64_t rule;

    int64_t seq_len;
    int64_t input_size;
    int64_t hidden_size;
    int64_t output_size;
    int64_t param_count; /* P, of one model */
    int64_t truncate;    /* steps that a gradient goes back; T if it is not cut off */

    int64_t models;
    int64_t epochs;
    int64_t steps; /* updates of an epoch */
    int64_t batch;
    int64_t updates; /* made before this call */

    double dropout; /* the share that is lost between the layers */
    double momentum;
    double weight_decay;
    double beta1;
    double beta2;
    double eps;
    double clip_norm;
    double clip_value;

    const void *x;             /* (N, T, I) */
    const void *center;        /* (M, I) */
    const void *scale;         /* (M, I) */
    const void *y;             /* (N, S, O) */
    const uint8_t *mask;       /* (N, S) */
    const int64_t *lengths;    /* (N) valid steps, 1 to T; NULL: all */
    const void *class_weights; /* (2 or O) */
    const int64_t *chosen;     /* (models) numbers of the models in the stack */
    const int64_t *rows;       /* (M, epochs, steps, batch); -1 is no row */
    const double *rate;        /* (M, epochs) */
    const Draw *draw;          /* (M) functions that draw 32 bits; NULL without dropout */
    void *const *streams;      /* (M) what they draw from */

    void *params;    /* (M, P) */
    void *first;     /* (M, P) Adam's first moment, or the velocity of sgd; NULL without either */
    void *second;    /* (M, P) Adam's second moment; NULL without */
    double *step;    /* (M) updates that Adam has made */
    int64_t *frozen; /* (M) the update at which a model was lost, else -1 */
    double *losses;  /* (M, epochs) */
} Task;

/* Return whether every code of the task is one of those above. */
static int known(const Task *task)
{
    switch (task->cell) {
    case RNN_TANH:
    case RNN_RELU:
    case RNN_SIGMOID:
    case RNN_PRELU:
    case GRU:
    case LSTM:
        break;
    default:
        return 0;
    }
    switch (task->loss) {
    case BINARY_CROSS_ENTROPY:
    case TEXTBOOK_CROSS_ENTROPY:
    case BRIER:
    case CROSS_ENTROPY:
    case MEAN_SQUARED_ERROR:
        break;
    default:
        return 0;
    }
    switch (task->rule) {
    case SGD:
    case ADAM:
    case ADAMW:
        return 1;
    default:
        return 0;
    }
}

/* -- what all versions of the template share */

enum { MOST_ROWS = 32 };  /* of one pass */
enum { CACHE = 1 << 19 }; /* bytes that the activations of a pass should fit into */

/* -- the instruction sets: BYTES of a vector, and what the compiler may use */

#define BYTES 16
#define SET plain
#define TARGET
#include "precisions.h"

#ifdef __x86_64__
#define BYTES 32
#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#include "precisions.h"

#define BYTES 64
#define SET avx512
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,fma")))
#include "precisions.h"
#endif

/* What is compiled for one instruction set, in double and in single precision. */
typedef struct {
    int (*train[2])(const Task *);
    int (*loss[2])(const Task *);
    void (*tanh[2])(const void *, void *, int64_t);
} Version;

#define VERSION(set)                                                                               \
    {                                                                                              \
        {train_models_double_##set, train_models_float_##set},                                     \
        {mean_losses_double_##set, mean_losses_float_##set},                                       \
        {tanh_array_double_##set, tanh_array_float_##set},                                         \
    }

static const Version versions[] = {
    VERSION(plain),
#ifdef __x86_64__
    VERSION(avx2),
    VERSION(avx512),
#endif
};

/* -- what Python calls */

/* Return how many of `versions` this processor can run; the last of them is the fastest. */
int64_t kernel_instruction_sets(void)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 1;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return 2;
    return 3;
#else
    return 1;
#endif
}

/* Return the VERSION of __init__.py. It grows with every change of a task's meaning, which need
 * not change its size. */
int64_t kernel_version(void) { return 3; }

/* Return the size of a task, by which Python recognises a library of another source. */
int64_t kernel_task_size(void) { return sizeof(Task); }

/* Train the chosen models in place, and write their losses; return an Outcome. */
int kernel_train(const Task *task)
{
    if (!known(task))
        return UNKNOWN_CODE;
    return versions[task->instruction_set].train[task->single_precision](task);
}

/* Write the losses of the chosen models over their rows; return an Outcome. */
int kernel_loss(const Task *task)
{
    if (!known(task))
        return UNKNOWN_CODE;
    return versions[task->instruction_set].loss[task->single_precision](task);
}

/* Take `count` hyperbolic tangents, a multiple of 16, of arrays that are aligned to 64 bytes. */
void kernel_tanh(int64_t instruction_set, int64_t single_precision, const void *x, void *y,
                 int64_t count)
{
    versions[instruction_set].tanh[single_precision](x, y, count);
}
