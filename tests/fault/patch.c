/* What the fault sweep loads: both functions refer to the victim and to each other's data. */
extern const char *message;
extern char *program_invocation_short_name;

int count_up_new(int n);
const char *name_it_new(int n);

const char *const names[] = {"new name", "new negative name"};
const char new_message[] = "new message";
static int calls;

int count_up_new(int n)
{
	calls++;
	return n + 2;
}

const char *name_it_new(int n)
{
	return message && program_invocation_short_name[0] ? names[n < 0] : "unresolved";
}
