/* Elementwise functions of vectors; each keeps a NaN. */

/* Return `yes` where the mask is set, else `no`. */
INLINE vec choose(bits mask, vec yes, vec no)
{
    return (vec)((mask & (bits)yes) | (~mask & (bits)no));
}

INLINE vec broadcast(REAL value) { return value - (vec){0}; }

INLINE REAL lane_sum(vec values)
{
    REAL each[LANES] __attribute__((aligned(BYTES)));
    AT(each) = values;
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++)
            each[lane] += each[lane + half];
    return each[0];
}

/* With |x| = k·ln(2)/2 + r and tanh r = u/v by Lambert's continued fraction,
 * exp(2|x|) = 2^k·(v + u)/(v - u), which makes tanh |x| = (w + u)/(w + v) with
 * w = (2^(k-1) - 1/2)·(v + u). The fractions are expanded by 3 and 9: v then lies just below a
 * power of two, where rounding costs least. */
INLINE vec vector_tanh(vec x)
{
    const vec one = broadcast(1);
    const vec limit = broadcast(LARGEST);
    const bits sign = (bits)x & (bits)-broadcast(0);
    const vec y = (vec)((bits)x ^ sign);

    /* The last digits of `shifted` are those of k - 1 and of the exponent's bias. */
    const int bias = sizeof(REAL) == 8 ? 1022 : 126;
    const REAL magic = (REAL)3 * ((WORD)1 << (MANTISSA - 1)) + bias;
    const vec shifted = y * (REAL)0x1.71547652b82fep+1 + magic;
    const vec k = shifted - magic;
    const vec power = (vec)((bits)shifted << MANTISSA);

    const vec r = y - k * (REAL)0x1.62e42fefa39efp-2;
    const vec r2 = r * r;
    const vec r4 = r2 * r2;
    vec u, v;
    if (sizeof(REAL) == 8) {
        u = r * ((31185 + 3780 * r2) + 63 * r4);
        v = (31185 + 14175 * r2) + r4 * (630 + 3 * r2);
    } else {
        u = r * (945 + 90 * r2);
        v = (945 + 405 * r2) + 9 * r4;
    }
    const vec w = (power - (REAL)0.5) * (v + u);
    const vec tanh_y = (w + u) / (w + v);
    return (vec)((bits)choose((bits)(y > limit), one, tanh_y) | sign);
}

INLINE vec vector_sigmoid(vec a) { return (REAL)0.5 * vector_tanh((REAL)0.5 * a) + (REAL)0.5; }

/* Return x within ±bound. */
INLINE vec vector_clip(vec x, vec bound)
{
    const bits sign = (bits)x & (bits)-broadcast(0);
    const vec size = (vec)((bits)x ^ sign);
    return choose((bits)(size > bound), (vec)((bits)bound | sign), x);
}

INLINE vec vector_sqrt(vec x)
{
    REAL each[LANES] __attribute__((aligned(BYTES)));
    AT(each) = x;
    for (int lane = 0; lane < LANES; lane++)
        each[lane] = sqrt(each[lane]);
    return AT(each);
}

FN void tanh_array(const void *x, void *y, int64_t count)
{
    for (int64_t k = 0; k < count; k += LANES)
        AT((REAL *)y + k) = vector_tanh(AT((REAL *)x + k));
}
