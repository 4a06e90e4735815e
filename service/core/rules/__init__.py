"""The rules, a file a subject: its terms in a policy file, its faults there, its checks, its
sentences for a cashier and its words on the console. `registry` has them in their order."""
