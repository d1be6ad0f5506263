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
#define product_tile NAME(product_tile)
#define product_row NAME(product_row)
#define multiply NAME(multiply)

#define Scan NAME(Scan)
#define Work NAME(Work)
#define Piece NAME(Piece)
#define whole_vectors NAME(whole_vectors)
#define scan_of NAME(scan_of)
#define rows_of_a_pass NAME(rows_of_a_pass)
#define measure_scan NAME(measure_scan)
#define measure NAME(measure)
#define zeros NAME(zeros)
#define allocate_scan NAME(allocate_scan)
#define allocate NAME(allocate)
#define release NAME(release)
#define set_ones NAME(set_ones)
#define place_weight NAME(place_weight)
#define place_scan NAME(place_scan)
#define place_params NAME(place_params)
#define prepare NAME(prepare)
#define load NAME(load)
#define store NAME(store)

#define elman_row NAME(elman_row)
#define elman_row_back NAME(elman_row_back)
#define gru_row NAME(gru_row)
#define gru_row_back NAME(gru_row_back)
#define lstm_row NAME(lstm_row)
#define lstm_row_back NAME(lstm_row_back)

#define length_of NAME(length_of)
#define turned NAME(turned)
#define sum_gates NAME(sum_gates)
#define rows_forward NAME(rows_forward)
#define cell_forward NAME(cell_forward)
#define keep_states NAME(keep_states)
#define scan_forward NAME(scan_forward)
#define transpose NAME(transpose)
#define transpose_scan NAME(transpose_scan)
#define rows_backward NAME(rows_backward)
#define cell_backward NAME(cell_backward)
#define hand_back NAME(hand_back)
#define weights_backward NAME(weights_backward)
#define scan_backward NAME(scan_backward)

#define draw_kept NAME(draw_kept)
#define kept_of NAME(kept_of)
#define copy_kept NAME(copy_kept)
#define read_inputs NAME(read_inputs)
#define pass_up NAME(pass_up)
#define read_out NAME(read_out)
#define head_reads NAME(head_reads)
#define head_forward NAME(head_forward)
#define forward NAME(forward)
#define transpose_weights NAME(transpose_weights)
#define head_weights_backward NAME(head_weights_backward)
#define head_backward NAME(head_backward)
#define read_out_back NAME(read_out_back)
#define pass_down NAME(pass_down)
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
#include "cells.h"
#include "scans.h"
#include "network.h"
#include "losses.h"
#include "updates.h"
#include "training.h"
