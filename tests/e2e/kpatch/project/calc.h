int calc_add(int a, int b);
int calc_uses(void);
