/* The template, once for each precision of one instruction set. */

#define REAL double
#define WORD uint64_t
#define PRECISION double
#define MANTISSA 52
#define LARGEST 20 /* from there on tanh rounds to 1 */
#include "template.h"
#undef REAL
#undef WORD
#undef PRECISION
#undef MANTISSA
#undef LARGEST

#define REAL float
#define WORD uint32_t
#define PRECISION float
#define MANTISSA 23
#define LARGEST 10
#include "template.h"
#undef REAL
#undef WORD
#undef PRECISION
#undef MANTISSA
#undef LARGEST

#undef BYTES
#undef SET
#undef TARGET
