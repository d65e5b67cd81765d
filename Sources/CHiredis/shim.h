// CHiredis — hiredis' parser of replies, made to put each reply into one record of fixed size.
//
// Of hiredis' asynchronous interface this is the part that is used: its contexts open sockets of their own, and abort the process on a reply that nobody
// has asked for. Nothing is allocated for a reply, whatever it announces to be.
#pragma once

#include <hiredis/hiredis.h>
#include <string.h>

enum { chr_none, chr_integers, chr_text, chr_error, chr_other };

// What a reply has said. Numbers beyond the eighth and bytes beyond the last are left out.
typedef struct {
  int kind;
  int count;
  long long numbers[8];
  size_t length;
  char text[256];
} chr_answer;

// The answer that a reader fills; a reply begins with the element that has no parent.
static inline chr_answer *chr_begin(const redisReadTask *task, int kind) {
  chr_answer *answer = (chr_answer *)task->privdata;
  if (task->parent == NULL) {
    answer->kind = kind;
    answer->count = 0;
    answer->length = 0;
  } else if (kind != chr_integers || task->parent->parent != NULL) {
    answer->kind = chr_other;
  }
  return answer;
}

static inline void *chr_string(const redisReadTask *task, char *text, size_t length) {
  chr_answer *answer = chr_begin(task, task->type == REDIS_REPLY_ERROR ? chr_error : chr_text);
  if (task->parent == NULL) {
    answer->length = length < sizeof answer->text ? length : sizeof answer->text;
    memcpy(answer->text, text, answer->length);
  }
  return answer;
}

static inline void *chr_array(const redisReadTask *task, int elements) {
  (void)elements;
  return chr_begin(task, task->parent == NULL ? chr_integers : chr_other);
}

static inline void *chr_integer(const redisReadTask *task, long long value) {
  chr_answer *answer = chr_begin(task, chr_integers);
  if (answer->count < 8) answer->numbers[answer->count++] = value;
  else answer->kind = chr_other;
  return answer;
}

static inline void *chr_nil(const redisReadTask *task) { return chr_begin(task, chr_other); }

static inline void chr_free(void *answer) { (void)answer; }

// A reader that puts replies into `answer`; NULL when there is no memory.
static inline redisReader *chr_reader(chr_answer *answer) {
  static redisReplyObjectFunctions functions = {chr_string, chr_array, chr_integer, chr_nil, chr_free};
  redisReader *reader = redisReaderCreateWithFunctions(&functions);
  if (reader != NULL) reader->privdata = answer;
  return reader;
}

// The next reply is put into the reader's answer: 1; there is no whole one yet: 0; what has come is none: -1.
static inline int chr_next(redisReader *reader) {
  void *reply = NULL;
  if (redisReaderGetReply(reader, &reply) != REDIS_OK) return -1;
  return reply != NULL ? 1 : 0;
}

// Bytes that wait for the rest of a reply.
static inline size_t chr_waiting(const redisReader *reader) { return reader->len - reader->pos; }
