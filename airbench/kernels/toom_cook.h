// The matrices of F(M×M, 3×3): how M×M pixels of a 3×3 convolution come of (M + 2)² products instead of 9 M².
//
// In one dimension, y = Aᵀ ((G g) ⊙ (Bᵀ d)) for M + 2 pixels d and three weights g (Winograd 1980; Lavin and Gray 2016,
// arXiv:1509.09308, section 4). A polynomial of the pixels and one of the weights are multiplied by their values at M + 1
// points and at infinity (Toom and Cook), so the rows of Bᵀ and G, and the columns of Aᵀ, belong to points.
//
// Which points are taken decides the rounding error: what is multiplied is rounded to bfloat16. Those for M = 3 and 4
// are the best of a grid of pairs ±a, ±b, by the error of outputs and weight gradients; it is half of what the usual
// 0, ±1, ±2 give (tests/kernels/test_winograd.py).

#pragma once

template <int M>
struct Points;

// A point of 0, if there is one, then pairs of p and -p; `first` is the first of the pairs.
template <>
struct Points<2> {
    static constexpr int first = 1;
    static constexpr double at[] = {0, 1, -1};
};

template <>
struct Points<3> {
    static constexpr int first = 0;
    static constexpr double at[] = {0.4, -0.4, 1.3, -1.3};
};

template <>
struct Points<4> {
    static constexpr int first = 1;
    static constexpr double at[] = {0, 0.7, -0.7, 1.5, -1.5};
};

template <int M>
struct ToomCook {
    static constexpr int N = M + 2;
    float bt[N][N]{}, g[N][3]{}, gt[3][N]{}, a[N][M]{}, at[M][N]{};

    constexpr ToomCook() {
        for (int i = 0; i < N; i++) { // infinity is last: the leading coefficient of each polynomial
            // Bᵀ: the coefficients of the product of (x - p) over all other points p.
            double product[N + 1]{1}, scale = 1;
            for (int j = 0; j < N - 1; j++) {
                if (j == i)
                    continue;
                const double p = Points<M>::at[j];
                for (int k = N; k >= 0; k--)
                    product[k] = (k ? product[k - 1] : 0) - p * product[k];
                if (i < N - 1)
                    scale *= Points<M>::at[i] - p;
            }
            for (int k = 0; k < N; k++)
                bt[i][k] = float(product[k]);
            double power = 1;
            for (int k = 0; k < M || k < 3; k++) {
                const double value = i < N - 1 ? power : 0;
                if (k < M)
                    a[i][k] = at[k][i] = float(i < N - 1 ? value : k == M - 1);
                if (k < 3)
                    g[i][k] = gt[k][i] = float(i < N - 1 ? value / scale : k == 2);
                power *= i < N - 1 ? Points<M>::at[i] : 1;
            }
        }
    }
};
