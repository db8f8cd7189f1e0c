/* Runs a battery of TestU01 on 32-bit words from standard input, and prints the name and the p of each
   statistic in a line of its own, separated by tabs. TestU01 prints a report of its own between them. `benches/trust/README.md` has the commands. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bbattery.h"
#include "swrite.h"
#include "unif01.h"

/* The number of tests of the battery Crush: its argument Rep counts from 1. */
#define CRUSH_TESTS 96

static uint32_t words[1 << 16];
static size_t next = 0, filled = 0;
static unsigned long long used = 0;

static unsigned int word(void) {
    if (next == filled) {
        filled = fread(words, sizeof words[0], sizeof words / sizeof words[0], stdin);
        next = 0;
        if (filled == 0) {
            fprintf(stderr, "testu01: standard input ended\n");
            exit(1);
        }
    }
    used++;
    return words[next++];
}

static void print_results(void) {
    for (int i = 0; i < bbattery_NTests; i++) {
        printf("statistic\t%s\t%.6g\n", bbattery_TestNames[i], bbattery_pVal[i]);
    }
    fflush(stdout);
}

int main(int count, char **arguments) {
    int is_crush = count == 4 && strcmp(arguments[1], "crush") == 0;
    if (!is_crush && !(count == 2 && strcmp(arguments[1], "smallcrush") == 0)) {
        fprintf(stderr, "usage: testu01 smallcrush | crush FIRST LAST < WORDS\n");
        return 1;
    }
    swrite_Basic = FALSE;
    unif01_Gen *words_of_input = unif01_CreateExternGenBits("words", word);
    if (!is_crush) {
        bbattery_SmallCrush(words_of_input);
        print_results();
    } else {
        /* One test at a time, each on the words that follow, so that results are seen early. */
        for (int test = atoi(arguments[2]); test <= atoi(arguments[3]); test++) {
            int repetitions[CRUSH_TESTS + 1] = {0};
            repetitions[test] = 1;
            bbattery_RepeatCrush(words_of_input, repetitions);
            printf("test\t%d\n", test);
            print_results();
        }
    }
    printf("words\t%llu\n", used);
    return 0;
}
