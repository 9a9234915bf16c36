"""Templates of what applications write freely: crashes, pages and hosts. `{kind}` takes a snippet of that kind."""

from dataclasses import dataclass

_LOOP = """
\tat android.os.Handler.handleCallback(Handler.java:938)
\tat android.os.Handler.dispatchMessage(Handler.java:99)
\tat android.os.Looper.loop(Looper.java:223)
\tat android.app.ActivityThread.main(ActivityThread.java:7656)
\tat java.lang.reflect.Method.invoke(Native Method)
\tat com.android.internal.os.RuntimeInit$MethodAndArgsCaller.run(RuntimeInit.java:592)
\tat com.android.internal.os.ZygoteInit.main(ZygoteInit.java:947)"""
_POOL = """
\tat java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1167)
\tat java.util.concurrent.ThreadPoolExecutor$Worker.run(ThreadPoolExecutor.java:641)
\tat java.lang.Thread.run(Thread.java:923)"""
_HTTP = """
\tat okhttp3.internal.connection.RealConnection.connect(RealConnection.kt:{line})
\tat okhttp3.internal.connection.ExchangeFinder.findConnection(ExchangeFinder.kt:226)
\tat okhttp3.internal.http.RetryAndFollowUpInterceptor.intercept(RetryAndFollowUpInterceptor.kt:76)
\tat okhttp3.internal.http.RealInterceptorChain.proceed(RealInterceptorChain.kt:109)
\tat okhttp3.internal.connection.RealCall$AsyncCall.run(RealCall.kt:517)"""
_NATIVE = """
    #00 pc 00000000{pc}  /system/lib64/libc.so (abort+164)
    #01 pc 00000000{pc}  /system/lib64/libart.so (art::Runtime::Abort(char const*)+2260)
    #02 pc 00000000{pc}  /vendor/lib64/libGLESv2_adreno.so (EsxContext::Draw(unsigned int)+812)
    #03 pc 00000000{pc}  /system/lib64/libhwui.so (android::uirenderer::RenderThread::threadLoop()+{line})
    #04 pc 00000000{pc}  /system/lib64/libutils.so (android::Thread::_threadLoop(void*)+284)"""


@dataclass(frozen=True)
class CrashText:
    """`signal` is of a native crash; a crash of Java code has none."""

    exception: str
    trace: str
    signal: str | None = None


# Sorted by frequency; about half of the crashes tell nothing about anybody.
CRASHES = (
    CrashText(
        "java.lang.NullPointerException: Attempt to invoke virtual method 'int java.lang.String.length()' on null",
        "java.lang.NullPointerException: Attempt to invoke virtual method 'int java.lang.String.length()' on null"
        "\n\tat com.android.browser.TabControl.restore(TabControl.java:{line})"
        "\n\tat com.android.browser.Controller.start(Controller.java:{line})" + _LOOP,
    ),
    CrashText(
        "android.os.DeadObjectException",
        "android.os.DeadObjectException\n\tat android.os.BinderProxy.transactNative(Native Method)"
        "\n\tat android.os.BinderProxy.transact(BinderProxy.java:540)"
        "\n\tat android.app.IActivityManager$Stub$Proxy.setServiceForeground(IActivityManager.java:{line})" + _LOOP,
    ),
    CrashText(
        "signal 11 (SIGSEGV), code 1 (SEGV_MAPERR)",
        "*** *** *** *** *** *** *** ***\npid: {line}, name: RenderThread  >>> com.miui.gallery <<<"
        "\nsignal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x{pc}\nbacktrace:" + _NATIVE,
        "SIGSEGV",
    ),
    CrashText(
        "java.net.ConnectException: Failed to connect to /{ipv4}:443",
        "java.net.ConnectException: Failed to connect to /{ipv4}:443" + _HTTP + _POOL,
    ),
    CrashText(
        "java.lang.OutOfMemoryError: Failed to allocate a 16777232 byte allocation with 4194304 free bytes",
        "java.lang.OutOfMemoryError: Failed to allocate a 16777232 byte allocation with 4194304 free bytes"
        "\n\tat dalvik.system.VMRuntime.newNonMovableArray(Native Method)"
        "\n\tat android.graphics.Bitmap.nativeCreate(Native Method)"
        "\n\tat com.miui.gallery.decode.RegionDecoder.decode(RegionDecoder.java:{line})" + _POOL,
    ),
    CrashText(
        "java.io.FileNotFoundException: /home/{user}/build/cache: open failed: ENOENT",
        "java.io.FileNotFoundException: /home/{user}/build/cache: open failed: ENOENT (No such file or directory)"
        "\n\tat libcore.io.IoBridge.open(IoBridge.java:492)"
        "\n\tat java.io.FileInputStream.<init>(FileInputStream.java:160)"
        "\nCaused by: android.system.ErrnoException: open failed: ENOENT\n\tat libcore.io.Linux.open(Native Method)"
        + _POOL,
    ),
    CrashText(
        "java.lang.IllegalStateException: sign-in failed for {email}",
        "java.lang.IllegalStateException: sign-in failed for {email}"
        "\n\tat com.xiaomi.account.SignIn.require(SignIn.java:{line})"
        "\n\tat com.xiaomi.account.SignIn.refresh(SignIn.java:{line})\n  with token {jwt}" + _LOOP,
    ),
    CrashText(
        "signal 6 (SIGABRT), code -1 (SI_QUEUE)",
        "pid: {line}, name: rild  >>> /vendor/bin/hw/rild <<<\nsignal 6 (SIGABRT), code -1 (SI_QUEUE)"
        "\nAbort message: 'RIL: slot 0 imei={imei} detached, own number {phone}'\nbacktrace:" + _NATIVE,
        "SIGABRT",
    ),
    CrashText(
        "java.lang.SecurityException: session={secret} has expired",
        "java.lang.SecurityException: session={secret} has expired"
        "\n\tat com.android.settings.SettingsActivity.onCreate(SettingsActivity.java:{line})"
        "\nheaders: Authorization: Bearer {token}\ndevice: android_id={android} model=M2007J3SG" + _LOOP,
    ),
    CrashText(
        "java.lang.IllegalArgumentException: interface wlan0 HWaddr {mac}",
        "java.lang.IllegalArgumentException: interface wlan0 HWaddr {mac} inet6 {ipv6}"
        "\n\tat com.android.server.wifi.WifiNative.setMac(WifiNative.java:{line})"
        "\n\tat com.android.server.wifi.ClientModeImpl.start(ClientModeImpl.java:{line})" + _LOOP,
    ),
    CrashText(
        "retrofit2.HttpException: HTTP 409",
        "retrofit2.HttpException: HTTP 409 for https://shop.example.com/api/orders?buyer={query}&contact={email}"
        '\n  body: {"order":"{uuid}","card":"{card}","phone":"{phone}"}'
        "\n\tat com.xiaomi.shop.OrderApi.place(OrderApi.kt:{line})" + _HTTP + _POOL,
    ),
    CrashText(
        "com.facebook.react.common.JavascriptException: undefined is not an object",
        "com.facebook.react.common.JavascriptException: undefined is not an object (evaluating 'e.items')"
        "\n  at render (/Users/{user}/work/app/src/List.tsx:{line}:14)"
        "\n  at C:\\Users\\{user}\\AppData\\Local\\Temp\\bundle.js:{line}:9" + _LOOP,
    ),
)

PAGES = (
    "home/feed",
    "settings/main",
    "https://www.example.com/news/technology",
    "themes/detail",
    "https://www.example.com/search?q={query}",
    "weather/forecast",
    "gallery/timeline",
    "https://shop.example.com/cart?session={secret}&step=2",
    "settings/privacy/location",
    "https://mail.example.org/unsubscribe?to={email}&list=7",
    "video/player",
    "https://www.example.com/map?near={query}#results",
)

HOSTS = (
    "api.example.com",
    "cdn1.example.net",
    "data.mistat.example.com",
    "weather.example.org",
    "update.example.com",
    "ads.example.net",
    "push.example.com",
    "{ipv4}:8080",
    "time.example.org",
    "tile.maps.example.org",
)

# By event type and field. The fields of one type have as many templates each, of which the first are more frequent.
TEXTS: dict[str, dict[str, tuple[str, ...]]] = {
    "crash": {
        "crash.exception": tuple(crash.exception for crash in CRASHES),
        "crash.trace": tuple(crash.trace for crash in CRASHES),
    },
    "page_view": {"page_view.page": PAGES},
    "network_request": {"network_request.host": HOSTS},
}
