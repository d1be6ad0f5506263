/* Products of matrices: C = A·B, or C += A·B. C and B have rows of vectors; A has any two
 * strides, so it may be read transposed. */

typedef struct {
    int64_t rows;  /* of A and C */
    int64_t inner; /* columns of A, rows of B */
    int64_t width; /* of B and C, a multiple of LANES */
    int64_t add;   /* C += A·B */

    REAL *c;
    int64_t c_row; /* from a row to the next */
    const REAL *a;
    int64_t a_row;
    int64_t a_inner; /* from a column to the next */
    const REAL *b;
    int64_t b_row;
} Product;

INLINE vec product_begin(const Product *of, int64_t row, int64_t column)
{
    return of->add ? AT(of->c + row * of->c_row + column) : (vec){0};
}

/* Compute `rows` times `vectors` of C from (row, column) on, kept in registers. */
INLINE void product_tile(const Product *of, int64_t row, int64_t column,
                         const int rows, const int vectors)
{
    vec sum[8][2];
    const REAL *a = of->a + row * of->a_row;
    const REAL *b = of->b + column;

#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            sum[i][v] = product_begin(of, row + i, column + v * LANES);

    for (int64_t k = 0; k < of->inner; k++, a += of->a_inner, b += of->b_row)
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sum[i][v] += a[i * of->a_row] * AT(b + v * LANES);

#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            AT(of->c + (row + i) * of->c_row + column + v * LANES) = sum[i][v];
}

/* Compute `vectors` of one row of C in several sums each, as additions into one would wait for each
 * other. */
INLINE void product_row(const Product *of, int64_t row, int64_t column,
                        const int vectors)
{
    const int parts = vectors == 1 ? 4 : 2;
    vec sum[4][4];
    const REAL *a = of->a + row * of->a_row;
    const REAL *b = of->b + column;

#pragma GCC unroll 4
    for (int part = 0; part < parts; part++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sum[part][v] = part == 0 ? product_begin(of, row, column + v * LANES) : (vec){0};

    /* The remainder comes first: a step waits for the last elements of its A. */
    int64_t k = 0;
    for (; k < of->inner % parts; k++, a += of->a_inner, b += of->b_row)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sum[0][v] += a[0] * AT(b + v * LANES);
    for (; k < of->inner; k += parts)
#pragma GCC unroll 4
        for (int part = 0; part < parts; part++, a += of->a_inner, b += of->b_row)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sum[part][v] += a[0] * AT(b + v * LANES);

#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        vec total = sum[0][v] + sum[1][v];
        if (parts == 4)
            total += sum[2][v] + sum[3][v];
        AT(of->c + row * of->c_row + column + v * LANES) = total;
    }
}

/* Compute C panel by panel: a panel of B stays in cache for all rows. */
FN void multiply(const Product *of)
{
    const int tall = BYTES == 64; /* so many registers that they hold a tile of eight rows */
    int64_t column = 0;
    if (of->rows == 1)
        for (; column + 4 * LANES <= of->width; column += 4 * LANES)
            product_row(of, 0, column, 4);
    for (; column + 2 * LANES <= of->width; column += 2 * LANES) {
        int64_t row = 0;
        for (; tall && row + 8 <= of->rows; row += 8)
            product_tile(of, row, column, 8, 2);
        for (; row + 4 <= of->rows; row += 4)
            product_tile(of, row, column, 4, 2);
        for (; row < of->rows; row++)
            product_row(of, row, column, 2);
    }
    if (column < of->width) {
        int64_t row = 0;
        for (; row + 8 <= of->rows; row += 8)
            product_tile(of, row, column, 8, 1);
        for (; row < of->rows; row++)
            product_row(of, row, column, 1);
    }
}
