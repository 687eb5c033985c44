// Compiles compute shaders with the first Vulkan driver, and writes the driver's statistics and machine code:
//
//     compile MODULE.spv ENTRY [MODULE.spv ENTRY]...      writes MODULE.spv.asm for each
//
// Mesa's RADV compiles for a GPU that is not there, if RADV_FORCE_FAMILY names one. Such a device has no memory, so nothing
// but pipelines can be made of it. Every module may use binding 0 as uniform buffer and bindings 1 to 15 as storage buffers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

#define BINDINGS 16
#define MOST 64

static void check(VkResult result, const char *what) {
    if (result == VK_SUCCESS || result == VK_INCOMPLETE) return;
    fprintf(stderr, "%s: Vulkan error %d\n", what, result);
    exit(1);
}

static void *allocated(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) check(VK_ERROR_OUT_OF_HOST_MEMORY, "calloc");
    return memory;
}

static VkDevice opened(void) {
    VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &app};
    VkInstance instance;
    check(vkCreateInstance(&info, NULL, &instance), "vkCreateInstance");
    VkPhysicalDevice physical;
    uint32_t count = 1;
    check(vkEnumeratePhysicalDevices(instance, &count, &physical), "vkEnumeratePhysicalDevices");
    if (count == 0) check(VK_ERROR_INITIALIZATION_FAILED, "no device");
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(physical, &properties);
    printf("%s\n", properties.deviceName);

    // As wgpu opens a device: accesses beyond a buffer are harmless without instructions for it.
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pipelineExecutableInfo = VK_TRUE};
    VkPhysicalDeviceRobustness2FeaturesEXT robustness = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ROBUSTNESS_2_FEATURES_EXT,
        .pNext = &executables,
        .robustBufferAccess2 = VK_TRUE};
    VkPhysicalDeviceFeatures features = {.robustBufferAccess = VK_TRUE};
    const char *extensions[] = {"VK_KHR_pipeline_executable_properties", "VK_EXT_robustness2"};
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo device_info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &robustness,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = 2,
        .ppEnabledExtensionNames = extensions,
        .pEnabledFeatures = &features};
    VkDevice device;
    check(vkCreateDevice(physical, &device_info, NULL, &device), "vkCreateDevice");
    return device;
}

static VkPipelineLayout layout_of(VkDevice device) {
    VkDescriptorSetLayoutBinding bindings[BINDINGS];
    for (uint32_t i = 0; i < BINDINGS; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){
            i, i ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER : VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL};
    VkDescriptorSetLayoutCreateInfo set_info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = BINDINGS, .pBindings = bindings};
    VkDescriptorSetLayout set;
    check(vkCreateDescriptorSetLayout(device, &set_info, NULL, &set), "vkCreateDescriptorSetLayout");
    VkPipelineLayoutCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, .setLayoutCount = 1, .pSetLayouts = &set};
    VkPipelineLayout layout;
    check(vkCreatePipelineLayout(device, &info, NULL, &layout), "vkCreatePipelineLayout");
    return layout;
}

static VkShaderModule module_of(VkDevice device, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint32_t *words = allocated(size);
    if (fread(words, 1, size, file) != (size_t)size) { perror(path); exit(1); }
    fclose(file);
    VkShaderModuleCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = size, .pCode = words};
    VkShaderModule module;
    check(vkCreateShaderModule(device, &info, NULL, &module), path);
    free(words);
    return module;
}

static void write_out(VkDevice device, VkPipeline pipeline, FILE *out) {
    PFN_vkGetPipelineExecutableStatisticsKHR statistics_of =
        (PFN_vkGetPipelineExecutableStatisticsKHR)vkGetDeviceProcAddr(device, "vkGetPipelineExecutableStatisticsKHR");
    PFN_vkGetPipelineExecutableInternalRepresentationsKHR texts_of =
        (PFN_vkGetPipelineExecutableInternalRepresentationsKHR)vkGetDeviceProcAddr(
            device, "vkGetPipelineExecutableInternalRepresentationsKHR");
    VkPipelineExecutableInfoKHR which = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline};
    VkPipelineExecutableStatisticKHR statistics[MOST] = {0};
    VkPipelineExecutableInternalRepresentationKHR texts[MOST] = {0};
    for (int i = 0; i < MOST; i++) {
        statistics[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
        texts[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
    }
    uint32_t count = MOST;
    check(statistics_of(device, &which, &count, statistics), "statistics");
    for (uint32_t i = 0; i < count; i++)
        if (statistics[i].format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR)
            fprintf(out, "## %s: %llu\n", statistics[i].name, (unsigned long long)statistics[i].value.u64);
    count = MOST;
    check(texts_of(device, &which, &count, texts), "machine code");
    for (uint32_t i = 0; i < count; i++) texts[i].pData = allocated(texts[i].dataSize + 1);
    check(texts_of(device, &which, &count, texts), "machine code");
    for (uint32_t i = 0; i < count; i++) {
        if (!strcmp(texts[i].name, "Assembly")) fprintf(out, "%s\n", (char *)texts[i].pData);
        free(texts[i].pData);
    }
}

int main(int count, char **arguments) {
    VkDevice device = opened();
    VkPipelineLayout layout = layout_of(device);
    for (int i = 1; i + 1 < count; i += 2) {
        VkShaderModule module = module_of(device, arguments[i]);
        VkComputePipelineCreateInfo info = {
            .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
            .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR | VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR,
            .stage = {
                .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                .module = module,
                .pName = arguments[i + 1]},
            .layout = layout};
        VkPipeline pipeline;
        check(vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline), arguments[i]);
        char path[4096];
        snprintf(path, sizeof path, "%s.asm", arguments[i]);
        FILE *out = fopen(path, "w");
        if (!out) { perror(path); return 1; }
        write_out(device, pipeline, out);
        if (fclose(out)) { perror(path); return 1; }
        vkDestroyPipeline(device, pipeline, NULL);
        vkDestroyShaderModule(device, module, NULL);
    }
    return 0;
}
