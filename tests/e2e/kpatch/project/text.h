const char *text_greeting(int n);
