#!/usr/bin/env bash
# statsmodels 0.15.0: two forecasts that differ by the same loss every day are told apart with certainty, whatever the loss.
#
# `diebold_mariano_test` divides the mean loss difference by its estimated standard error. If the difference is the same
# on every day, the error is rounding: the statistic is about 1e16, and p is 0.0. Twenty days are enough, and so is a
# difference of one part in a million, although nothing is known of how it varies. A p-value of 0 then beats every other one in
# a correction for many tests. Seen: statistic below -1e10, p = 0.0.
#
# In the same release one undefined p-value (NaN) turns every corrected p of Benjamini and Hochberg into NaN, while the
# decisions still say reject: `multipletests([0.001, 0.2, nan, 0.03], method="fdr_bh")` gives reject [True, False, False, False]
# and p [nan, nan, nan, nan]. Whoever reads the decisions and whoever reads p < 0.05 reach different conclusions.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check statsmodels==0.15.0 "numpy==2.4.6" "pandas==3.1.1" 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import numpy as np
from statsmodels.stats.multitest import multipletests
from statsmodels.tsa.stattools import diebold_mariano_test

happened = np.zeros(20)
better = np.ones(20)
worse = np.full(20, 1 + 1e-6)
result = diebold_mariano_test(happened, better, worse, criterion="mad")
print(f"statistic {float(result.statistic):.2g}, p {float(result.pvalue)}")
assert float(result.pvalue) == 0.0
assert float(result.statistic) < -1e10

reject, corrected, *_ = multipletests([0.001, 0.2, np.nan, 0.03], method="fdr_bh")
print("reject", reject.tolist(), "corrected p", corrected.tolist())
assert reject.tolist() == [True, False, False, False]
assert np.isnan(corrected).all()
PYTHON
