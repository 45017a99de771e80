/* What the product, and the files of its releases, are called. */
#ifndef LP_UPDATE_NAMES_H
#define LP_UPDATE_NAMES_H

/* In releases it has no instruction set but this name: it is a product's. */
#define LP_PRODUCT "arm64_runner"

#endif
