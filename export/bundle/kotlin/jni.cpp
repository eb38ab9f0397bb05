/**
 * @brief What EdgearkNetwork.kt calls.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <jni.h>

#include <exception>
#include <string>

#include "failure.h"
#include "network.h"

namespace {

std::string text_of(JNIEnv *env, jstring given)
{
    const char *characters = env->GetStringUTFChars(given, nullptr);
    if (characters == nullptr) {
        throw Failure("a text that cannot be read");
    }
    const std::string text = characters;
    env->ReleaseStringUTFChars(given, characters);
    return text;
}

std::string text_at(JNIEnv *env, jobjectArray given, jsize index)
{
    return text_of(env, static_cast<jstring>(env->GetObjectArrayElement(given, index)));
}

/** Let Kotlin throw what C++ has thrown. */
void raise(JNIEnv *env, const std::exception &error)
{
    env->ThrowNew(env->FindClass("java/lang/RuntimeException"), error.what());
}

/** Three bytes a pixel of four, and back. */
Image image_of(const uint8_t *rgba, int width, int height)
{
    Image image(width, height, 3);
    for (size_t i = 0; i < image.pixels.size() / 3; i++) {
        for (size_t c = 0; c < 3; c++) {
            image.pixels[3 * i + c] = rgba[4 * i + c];
        }
    }
    return image;
}

void write_back(const Image &image, uint8_t *rgba)
{
    for (size_t i = 0; i < image.pixels.size() / 3; i++) {
        for (size_t c = 0; c < 3; c++) {
            rgba[4 * i + c] = image.pixels[3 * i + c];
        }
    }
}

} // namespace

extern "C" {

JNIEXPORT jlong JNICALL Java_edgeark_EdgearkNetwork_open(JNIEnv *env, jobject, jstring folder,
                                                         jobjectArray names, jobjectArray values)
{
    try {
        Settings settings{{"threads", "0"}};
        for (const RuntimeOption &option : runtime_options()) {
            settings[option.name] = option.standard;
        }
        for (jsize i = 0; i < env->GetArrayLength(names); i++) {
            const std::string name = text_at(env, names, i);
            if (settings.count(name) == 0) {
                throw Failure("the runtime has no setting " + name);
            }
            settings[name] = text_at(env, values, i);
        }
        return reinterpret_cast<jlong>(new Network(text_of(env, folder), settings));
    } catch (const std::exception &error) {
        raise(env, error);
        return 0;
    }
}

JNIEXPORT jstring JNICALL Java_edgeark_EdgearkNetwork_answer(JNIEnv *env, jobject, jlong handle,
                                                             jobject rgba, jint width, jint height,
                                                             jboolean draws)
{
    try {
        auto *pixels = static_cast<uint8_t *>(env->GetDirectBufferAddress(rgba));
        if (pixels == nullptr) {
            throw Failure("the buffer is not direct");
        }
        Image image = image_of(pixels, width, height);
        Times times;
        const auto answer = (*reinterpret_cast<Network *>(handle))(image, TaskOptions(), times);
        if (draws) {
            answer->draw(image);
            write_back(image, pixels);
        }
        return env->NewStringUTF(answer->json().c_str());
    } catch (const std::exception &error) {
        raise(env, error);
        return nullptr;
    }
}

JNIEXPORT void JNICALL Java_edgeark_EdgearkNetwork_close(JNIEnv *, jobject, jlong handle)
{
    delete reinterpret_cast<Network *>(handle);
}

} // extern "C"
