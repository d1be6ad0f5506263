/* The cells: one step of one row, and back. The sums of a row of gates become the gates in place,
 * and then, on the way back, the gradients of the sums. */

/* h = φ(a) of an Elman network; the row keeps a. */
INLINE void elman_row(enum Cell cell, const Work *w, const REAL *slope, const REAL *a, REAL *h)
{
    for (int64_t u = 0; u < w->hidden; u += LANES) {
        const vec sum = AT(a + u);
        switch (cell) {
        case RNN_RELU:
            AT(h + u) = choose((bits)(sum <= 0), (vec){0}, sum);
            break;
        case RNN_SIGMOID:
            AT(h + u) = vector_sigmoid(sum);
            break;
        case RNN_PRELU:
            AT(h + u) = choose((bits)(sum > 0), sum, *slope * sum);
            break;
        default:
            AT(h + u) = vector_tanh(sum);
        }
    }
}

/* Write da = φ'(a) ∘ dh in place of a, and add the gradient of a PReLU's slope. */
INLINE void elman_row_back(enum Cell cell, const Work *w, const REAL *slope, REAL *a, const REAL *h,
                           const REAL *dh, REAL *d_slope)
{
    vec by_slope = {0};
    for (int64_t u = 0; u < w->hidden; u += LANES) {
        const vec y = AT(h + u);
        const vec sum = AT(a + u);
        const vec dy = AT(dh + u);
        switch (cell) {
        case RNN_RELU:
            AT(a + u) = dy * choose((bits)(y > 0), broadcast(1), (vec){0});
            break;
        case RNN_SIGMOID:
            AT(a + u) = dy * (y * (1 - y));
            break;
        case RNN_PRELU:
            AT(a + u) = dy * choose((bits)(sum > 0), broadcast(1), broadcast(*slope));
            by_slope += dy * choose((bits)(sum > 0), (vec){0}, sum);
            break;
        default:
            AT(a + u) = dy * (1 - y * y);
        }
    }
    if (cell == RNN_PRELU)
        *d_slope += lane_sum(by_slope);
}

/* Turn the sums of a GRU's row (4·HP) into its gates, and write h after the step. */
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

/* Turn the sums of an LSTM's row (4·HP) into its gates, and write c and h after the step. */
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
