// libbpf and the flow table layout shared with the BPF program.
#pragma once
