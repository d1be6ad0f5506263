/* The arithmetic in one precision for one instruction set.
 *
 * Set before: REAL, and WORD, an unsigned integer of its size; MANTISSA, its bits after the point;
 * LARGEST; BYTES of a vector and TARGET, the instructions; PRECISION and SET, which end the names.
 *
 * Vectors are those of GCC and Clang. A vector runs along the hidden units, which are padded to
 * whole vectors with zeros. Weights of zero have gradients of zero, so the padding stays zero until
 * a model is lost.
 */

/* Every name below exists once a precision and instruction set: train_models_float_avx2, … The
 * macros look up PRECISION and SET where they are used, so including them again changes nothing. */
#define JOIN_(name, precision, set) name##_##precision##_##set
#define JOIN(name, precision, set) JOIN_(name, precision, set)
#define NAME(name) JOIN(name, PRECISION, SET)

#define vec NAME(vec)
#define bits NAME(bits)
#define pair NAME(pair)
#define choose NAME(choose)
#define broadcast NAME(broadcast)
#define lane_sum NAME(lane_sum)
#define vector_tanh NAME(vector_tanh)
#define vector_sigmoid NAME(vector_sigmoid)
#define vector_clip NAME(vector_clip)
#define vector_sqrt NAME(vector_sqrt)
#define tanh_array NAME(tanh_array)

#define Product NAME(Product)
#define product_begin NAME(product_begin)
#define product_end NAME(product_end)
#define product_tile NAME(product_tile)
#define product_row NAME(product_row)
#define product_panels NAME(product_panels)
#define multiply NAME(multiply)
#define multiply_steps NAME(multiply_steps)

#define Work NAME(Work)
#define zeros NAME(zeros)
#define rows_of_a_pass NAME(rows_of_a_pass)
#define measure NAME(measure)
#define allocate NAME(allocate)
#define set_ones NAME(set_ones)
#define place_weight NAME(place_weight)
#define place_params NAME(place_params)
#define prepare NAME(prepare)
#define release NAME(release)
#define load NAME(load)
#define store NAME(store)

#define read_inputs NAME(read_inputs)
#define gru_row NAME(gru_row)
#define lstm_row NAME(lstm_row)
#define gru_row_back NAME(gru_row_back)
#define lstm_row_back NAME(lstm_row_back)
#define forward_rnn NAME(forward_rnn)
#define forward_gru NAME(forward_gru)
#define forward_lstm NAME(forward_lstm)
#define forward_head NAME(forward_head)
#define forward NAME(forward)
#define transpose_recurrent NAME(transpose_recurrent)
#define add_from_head NAME(add_from_head)
#define hand_back NAME(hand_back)
#define backward_rnn NAME(backward_rnn)
#define backward_gru NAME(backward_gru)
#define backward_lstm NAME(backward_lstm)
#define backward_weights NAME(backward_weights)
#define backward_head NAME(backward_head)
#define backward NAME(backward)

#define loss_weight NAME(loss_weight)
#define score_binary NAME(score_binary)
#define Softmax NAME(Softmax)
#define softmax_of NAME(softmax_of)
#define score_softmax NAME(score_softmax)
#define score_squared NAME(score_squared)
#define score NAME(score)

#define Constants NAME(Constants)
#define clip_scale NAME(clip_scale)
#define constants_of NAME(constants_of)
#define try_step NAME(try_step)
#define update NAME(update)

#define present_rows NAME(present_rows)
#define run_batch NAME(run_batch)
#define train_epoch NAME(train_epoch)
#define train_model NAME(train_model)
#define train_models NAME(train_models)
#define mean_losses NAME(mean_losses)

#define FN __attribute__((unused)) static TARGET
#define INLINE static inline __attribute__((always_inline)) TARGET
#define LANES ((int64_t)(BYTES / sizeof(REAL)))
#define AT(pointer) (*(vec *)(pointer))

typedef REAL vec __attribute__((vector_size(BYTES), may_alias));
typedef WORD bits __attribute__((vector_size(BYTES), may_alias));
typedef REAL pair __attribute__((vector_size(2 * sizeof(REAL)), may_alias));

#include "vectors.h"
#include "products.h"
#include "memory.h"
#include "layers.h"
#include "losses.h"
#include "updates.h"
#include "training.h"
