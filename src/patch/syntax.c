#include "patch/patch.h"

#include <string.h>

#include "base/vec.h"
#include "patch/script.h"

static const struct lp_op_syntax ops[] = {
#define OPTIONS(...)        \
	{                   \
		__VA_ARGS__ \
	}
#define LP_OP(kind, name, options, first, first_text, second, second_text, help)                  \
	[LP_OP_##kind] = {LP_OP_##kind,                                                           \
			  name,                                                                   \
			  options,                                                                \
			  {{LP_OPERAND_##first, first_text}, {LP_OPERAND_##second, second_text}}, \
			  help},
#include "patch/ops.def"
#undef LP_OP
#undef OPTIONS
};

static const struct lp_value_type types[] = {
#define LP_VALUE_TYPE(name, form, width, help) {name, LP_VALUE_##form, width, help},
#include "patch/types.def"
#undef LP_VALUE_TYPE
};

const struct lp_op_syntax *lp_op_syntaxes(size_t *nr)
{
	*nr = LP_ARRAY_SIZE(ops);
	return ops;
}

const struct lp_value_type *lp_value_types(size_t *nr)
{
	*nr = LP_ARRAY_SIZE(types);
	return types;
}

const struct lp_op_syntax *lp_op_syntax_of(enum lp_op_kind kind)
{
	return &ops[kind];
}

const struct lp_op_syntax *lp_op_syntax_named(struct lp_word name)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(ops); i++)
		if (lp_word_is(name, ops[i].name))
			return &ops[i];
	return NULL;
}

const struct lp_value_type *lp_value_type_named(struct lp_word name)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(types); i++)
		if (lp_word_is(name, types[i].name))
			return &types[i];
	return NULL;
}

bool *lp_op_option(struct lp_op *op, const char *option)
{
	const struct {
		enum lp_op_kind kind;
		const char *name;
		bool *kept;
	} all[] = {
		{LP_OP_DL, "--dlopen", &op->dlopen},
		{LP_OP_JMP, "--allow-active", &op->allow_active},
		{LP_OP_JMP, "--clobber", &op->clobber},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(all); i++)
		if (all[i].kind == op->kind && strcmp(all[i].name, option) == 0)
			return all[i].kept;
	return NULL;
}
