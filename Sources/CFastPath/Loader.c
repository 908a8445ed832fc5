#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "CFastPath.h"

// Newer than the headers of Debian 12 (linux/bpf.h since 6.6).
#define RELAY_BPF_TCX_INGRESS 46

// Ours among the filters of an interface: "CRES" and a priority few others use.
#define FILTER_HANDLE 0x43524553
#define FILTER_PRIORITY 0x4352

static __thread char *log_start;
static __thread size_t log_byte_count_max;

/// Keeps the end of the log: there stands what went wrong.
static int keep_log(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char line[1024];

	if (level == LIBBPF_DEBUG || !log_start || !log_byte_count_max)
		return 0;
	vsnprintf(line, sizeof(line), format, arguments);
	size_t added = strlen(line), used = strlen(log_start);
	if (added >= log_byte_count_max)
		added = log_byte_count_max - 1;
	if (used + added >= log_byte_count_max) {
		size_t surplus = used + added - (log_byte_count_max - 1);
		memmove(log_start, log_start + surplus, used - surplus + 1);
		used -= surplus;
	}
	memcpy(log_start + used, line + strlen(line) - added, added + 1);
	return 0;
}

static int descriptor_of_map(struct bpf_object *object, const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	return map ? bpf_map__fd(map) : -ENOENT;
}

static int descriptor_of_program(struct bpf_object *object, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);

	return program ? bpf_program__fd(program) : -ENOENT;
}

static int set_size(struct bpf_object *object, const char *name, uint32_t entry_count)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	return map ? bpf_map__set_max_entries(map, entry_count) : -ENOENT;
}

/// Constants of the program that depend on the machine.
static int set_constants(struct bpf_object *object)
{
	struct bpf_map *constants = bpf_object__find_map_by_name(object, ".rodata.machine");
	size_t byte_count = 0;
	bool *stores_are_ordered = constants ? (bool *)bpf_map__initial_value(constants, &byte_count) : NULL;

	if (byte_count != sizeof(*stores_are_ordered))
		return -ENOENT;
#if defined(__x86_64__) || defined(__i386__)
	*stores_are_ordered = true;
#endif
	return 0;
}

int relay_load(const void *bytes, size_t byte_count, uint32_t flow_count_max, struct relay_program *result,
	       const char **call, char *log, size_t log_byte_count)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "cresset");
	int error;

	memset(result, 0, sizeof(*result));
	if (log_byte_count)
		log[0] = 0;
	log_start = log;
	log_byte_count_max = log_byte_count;
	libbpf_print_fn_t previous = libbpf_set_print(keep_log);

	*call = "bpf_object__open_mem";
	struct bpf_object *object = bpf_object__open_mem(bytes, byte_count, &options);
	error = libbpf_get_error(object);
	if (error)
		goto done;
	*call = "bpf_map__set_max_entries";
	error = set_size(object, "flows", flow_count_max);
	if (!error)
		error = set_size(object, "flow_slots", relay_slot_count(flow_count_max));
	if (!error)
		error = set_size(object, "flow_counters", flow_count_max);
	if (!error)
		error = set_size(object, "flow_quality", flow_count_max);
	if (!error) {
		*call = "set_constants";
		error = set_constants(object);
	}
	if (!error) {
		*call = "bpf_object__load";
		error = bpf_object__load(object);
	}
	if (!error) {
		*call = "relay_slots_open";
		error = relay_slots_open(descriptor_of_map(object, "flows"), descriptor_of_map(object, "flow_heads"),
					 descriptor_of_map(object, "flow_slots"), flow_count_max, &result->slots);
	}
	if (!error) {
		*call = "find";
		result->object = object;
		result->xdp = descriptor_of_program(object, "relay_xdp");
		result->tc = descriptor_of_program(object, "relay_tc");
		result->flow_counters = descriptor_of_map(object, "flow_counters");
		result->flow_quality = descriptor_of_map(object, "flow_quality");
		result->totals = descriptor_of_map(object, "totals");
		result->interfaces = descriptor_of_map(object, ".data.interfaces");
		result->guarded = descriptor_of_map(object, ".data.guarded");
		result->shield_settings = descriptor_of_map(object, ".data.shield");
		result->shield_blocked = descriptor_of_map(object, "shield_blocked");
		result->shield_allowed = descriptor_of_map(object, "shield_allowed");
		result->shield_sources = descriptor_of_map(object, "shield_sources");
		result->tap_rings = descriptor_of_map(object, "tap_rings");
		result->tap_shape = descriptor_of_map(object, ".data.tap");
		result->tap_counters = descriptor_of_map(object, "tap_counters");
		if (result->xdp < 0 || result->tc < 0 || result->flow_counters < 0 ||
		    result->flow_quality < 0 ||
		    result->totals < 0 || result->interfaces < 0 || result->guarded < 0 ||
		    result->shield_settings < 0 || result->shield_blocked < 0 || result->shield_allowed < 0 ||
		    result->shield_sources < 0 || result->tap_rings < 0 ||
		    result->tap_shape < 0 || result->tap_counters < 0)
			error = -ENOENT;
	}
	if (error) {
		relay_slots_close(result->slots);
		result->slots = NULL;
		bpf_object__close(object);
		result->object = NULL;
	}
done:
	libbpf_set_print(previous);
	log_start = NULL;
	return error;
}

void relay_unload(struct relay_program *program)
{
	relay_slots_close(program->slots);
	program->slots = NULL;
	if (program->object)
		bpf_object__close(program->object);
	program->object = NULL;
}

int relay_possible_cpu_count(void)
{
	return libbpf_num_possible_cpus();
}

int relay_link_xdp(int program, uint32_t interface_index)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = XDP_FLAGS_DRV_MODE);

	return bpf_link_create(program, interface_index, BPF_XDP, &options);
}

int relay_link_tcx(int program, uint32_t interface_index)
{
	return bpf_link_create(program, interface_index, RELAY_BPF_TCX_INGRESS, NULL);
}

/// libbpf prints "Kernel error message: …" for refusals we expect and report ourselves.
static int keep_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level, (void)format, (void)arguments;
	return 0;
}

int relay_clsact_attach(int program, uint32_t interface_index)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface_index, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY, .prog_fd = program,
		    .flags = BPF_TC_F_REPLACE);
	libbpf_print_fn_t previous = libbpf_set_print(keep_quiet);
	int error = bpf_tc_hook_create(&hook);

	if (!error || error == -EEXIST)
		error = bpf_tc_attach(&hook, &options);
	libbpf_set_print(previous);
	return error;
}

int relay_clsact_detach(uint32_t interface_index)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface_index, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, query, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	LIBBPF_OPTS(bpf_tc_opts, detach, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	struct bpf_prog_info info = {};
	__u32 info_byte_count = sizeof(info);
	libbpf_print_fn_t previous = libbpf_set_print(keep_quiet);
	int error = bpf_tc_query(&hook, &query);

	if (error) {
		libbpf_set_print(previous);
		return error == -ENOENT || error == -EINVAL ? 0 : error; // EINVAL: no clsact there
	}
	int program = bpf_prog_get_fd_by_id(query.prog_id);
	error = program < 0 ? program : bpf_obj_get_info_by_fd(program, &info, &info_byte_count);
	if (program >= 0)
		close(program);
	if (!error && !strcmp(info.name, "relay_tc"))
		error = bpf_tc_detach(&hook, &detach);
	libbpf_set_print(previous);
	return error;
}

int relay_run(int program, bool is_xdp, uint32_t interface_index, uint32_t repeat, const uint8_t *packet,
	      uint32_t byte_count, uint8_t *output, uint32_t output_byte_count, struct relay_run_result *result)
{
	struct xdp_md frame = {.data_end = byte_count, .ingress_ifindex = interface_index};
	struct __sk_buff buffer = {.ingress_ifindex = interface_index, .ifindex = interface_index};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = byte_count, .data_out = output,
		    .data_size_out = output_byte_count, .repeat = repeat);

	if (is_xdp) {
		options.ctx_in = &frame;
		options.ctx_size_in = sizeof(frame);
	} else {
		options.ctx_in = &buffer;
		options.ctx_size_in = sizeof(buffer);
	}
	int error = bpf_prog_test_run_opts(program, &options);
	result->action = options.retval;
	result->byte_count = options.data_size_out;
	result->nanoseconds = options.duration;
	return error;
}
