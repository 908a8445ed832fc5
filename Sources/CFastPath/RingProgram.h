// Classic BPF as the ring engine writes it, an instruction after the other.
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

/// A program that grows; jumps to its end are written once it is known.
struct ring_program {
	struct sock_filter *instructions;
	uint16_t count;
	uint16_t capacity;
};

static inline void ring_add(struct ring_program *program, uint16_t code, uint8_t when_true, uint8_t when_false,
			    uint32_t value)
{
	if (program->count < program->capacity)
		program->instructions[program->count++] = (struct sock_filter){code, when_true, when_false, value};
}

static inline void ring_answer(struct ring_program *program, uint32_t value)
{
	ring_add(program, BPF_RET | BPF_K, 0, 0, value);
}

/// Ends the program with `value` unless what was loaded compares so.
static inline void ring_require(struct ring_program *program, uint16_t comparison, uint32_t with, uint32_t value)
{
	ring_add(program, BPF_JMP | comparison | BPF_K, 1, 0, with);
	ring_answer(program, value);
}

static inline void ring_refuse(struct ring_program *program, uint16_t comparison, uint32_t with, uint32_t value)
{
	ring_add(program, BPF_JMP | comparison | BPF_K, 0, 1, with);
	ring_answer(program, value);
}

static inline void ring_load(struct ring_program *program, uint16_t width, int32_t offset)
{
	ring_add(program, BPF_LD | width | BPF_ABS, 0, 0, (uint32_t)offset);
}

/// Ends with `other` unless the packet came untagged, from the wire, and is UDP as a ring takes it: what the filters of
/// ring, socket and TC ingress have in common.
void ring_require_packet(struct ring_program *program, bool is_v6, uint32_t other);
