"""Compiles every kernel source for every architecture that is supported, without a GPU, and holds each kernel
to its budget: no spills, no local memory, and no more registers than the `// registers: N` above it.

    python -m pg_test.gpu.nvrtc_gate [architecture ...]     a table; fails when a kernel is over its budget
"""

import ctypes
import pathlib
import re
import sys
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
# sm_: Turing, Ampere twice, Ada, Hopper, Blackwell twice.
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
# The options of src/gpu/cuda/module.rs; -v makes ptxas report what each kernel takes.
OPTIONS = ("--std=c++17", "--device-int128", "-default-device", "--generate-line-info")
VERBOSE = "--ptxas-options=-v"

BUDGET = re.compile(r"// registers: (\d+)\nKERNEL\b[^{]*?\b(\w+)\(PARAMETERS\)")
KERNEL = re.compile(r"^KERNEL\b.*?(\w+)\(PARAMETERS\)|__global__ void (\w+)\(", re.MULTILINE)
# ptxas names a function, then its stack and spills, then for a kernel its registers.
ENTRY = re.compile(r"Compiling entry function '(\w+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


@dataclass
class Kernel:
    name: str
    registers: int = 0
    stack: int = 0
    spills: int = 0
    shared: int = 0


class Nvrtc:
    """libnvrtc of the package nvidia-cuda-nvrtc."""

    def __init__(self):
        folder = next(
            found
            for path in sys.path
            for found in pathlib.Path(path).glob("nvidia/*/lib")
            if list(found.glob("libnvrtc.so.*"))
        )
        # Found by the compiler's dlopen when it is loaded already.
        for name in ("libnvrtc-builtins.so.*", "libnvrtc.so.*"):
            self.library = ctypes.CDLL(str(next(folder.glob(name))), mode=ctypes.RTLD_GLOBAL)

    def text(self, program, what):
        size = ctypes.c_size_t()
        getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(self.library, f"nvrtcGet{what}")(program, text)
        return text.raw

    def compile(self, source, headers, options):
        """The log and the machine code; None for the code when the source is wrong."""
        program = ctypes.c_void_p()
        texts = (ctypes.c_char_p * len(headers))(*(header.read_bytes() for header in headers))
        names = (ctypes.c_char_p * len(headers))(*(header.name.encode() for header in headers))
        made = self.library.nvrtcCreateProgram(
            ctypes.byref(program), source.read_bytes(), source.name.encode(), len(headers), texts, names
        )
        assert made == 0, f"nvrtcCreateProgram: {made}"
        arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = self.library.nvrtcCompileProgram(program, len(options), arguments)
        log = self.text(program, "ProgramLog").rstrip(b"\0").decode()
        code = None if failed else self.text(program, "CUBIN")
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return log, code


def sources():
    return sorted([*ROOT.glob("kernels/*.cu"), *ROOT.glob("src/gpu/cuda/*.cu")])


def budgets(source):
    return {name: int(registers) for registers, name in BUDGET.findall(source.read_text())}


def kernels(log):
    """ptxas's report of each kernel; called functions count for the kernel named before them."""
    found = []
    for line in log.splitlines():
        if entry := ENTRY.search(line):
            found.append(Kernel(entry[1]))
        elif found and (stack := STACK.search(line)):
            found[-1].stack += int(stack[1])
            found[-1].spills += int(stack[2]) + int(stack[3])
        elif found and (registers := REGISTERS.search(line)):
            found[-1].registers = int(registers[1])
            shared = SHARED.search(line)
            found[-1].shared = int(shared[1]) if shared else 0
    return found


def compile_all(nvrtc, source, architecture):
    headers = sorted(ROOT.glob("kernels/*.cuh"))
    options = (*OPTIONS, f"--gpu-architecture=sm_{architecture}", VERBOSE)
    log, code = nvrtc.compile(source, headers, options)
    assert code, f"{source.name} for sm_{architecture}:\n{log}"
    assert "warning" not in log, f"{source.name} for sm_{architecture}:\n{log}"
    return kernels(log)


def over_budget(source, found):
    """The faults of the kernels of a source, a line for each."""
    text, limits = source.read_text(), budgets(source)
    named = {first or second for first, second in KERNEL.findall(text)}
    absent = named - {kernel.name for kernel in found}
    wrong = [f"{name}: not in the compiler's log" for name in sorted(absent)]
    for kernel in found:
        # A source without any budget holds no kernels that matter, such as the one that is made to fault.
        limit = limits.get(kernel.name, 16 if not limits else 0)
        if kernel.registers > limit:
            wrong.append(f"{kernel.name}: {kernel.registers} registers, of which {limit} are budgeted")
        if kernel.stack or kernel.spills:
            wrong.append(f"{kernel.name}: {kernel.stack} bytes of stack, {kernel.spills} of spills")
    return wrong


def main(arguments):
    nvrtc = Nvrtc()
    wrong = []
    print(f"{'kernel':12} {'sm':>4} {'registers':>9} {'budget':>6} {'stack':>5} {'spills':>6} {'shared':>6}")
    for source in sources():
        for architecture in map(int, arguments or ARCHITECTURES):
            found = compile_all(nvrtc, source, architecture)
            for kernel in found:
                budget = budgets(source).get(kernel.name, "-")
                print(
                    f"{kernel.name:12} {architecture:4} {kernel.registers:9} {budget:>6} {kernel.stack:5} "
                    f"{kernel.spills:6} {kernel.shared:6}"
                )
            wrong += [f"sm_{architecture}: {line}" for line in over_budget(source, found)]
    print("\n".join(wrong) or "all within their budgets")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
