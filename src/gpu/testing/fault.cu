// A kernel that faults, for tests: the address is in no allocation, and no context outlives the write.
extern "C" __global__ void fault() { *reinterpret_cast<volatile unsigned int *>(0x10) = 1; }
