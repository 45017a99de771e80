/*
 * hotpatch.hpp: hotpatch.h for C++, under the names of the first HotPatch.
 *
 *     hotpatch::InitHotpatchServer();
 *     std::string user_name = "myname";
 *     hotpatch::RegisterVariable("user_name", &user_name);
 *     hotpatch::RegisterFunction("add_func", reinterpret_cast<void *>(add_func));
 *
 * Header only: what it does with std::string is compiled with the program's own
 * library.  C++11 or later.  Nothing throws but for want of memory; functions
 * that returned nothing in the first HotPatch return whether they worked, and
 * LastError() says why not.
 */
#ifndef HOTPATCH_HPP
#define HOTPATCH_HPP

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "hotpatch.h"

namespace hotpatch
{

namespace detail
{

template <typename T> struct TypeOf;

template <> struct TypeOf<bool> {
	static constexpr hotpatch_type value = HOTPATCH_BOOL;
};
template <> struct TypeOf<char> {
	static constexpr hotpatch_type value = HOTPATCH_CHAR;
};
template <> struct TypeOf<float> {
	static constexpr hotpatch_type value = HOTPATCH_FLOAT;
};
template <> struct TypeOf<double> {
	static constexpr hotpatch_type value = HOTPATCH_DOUBLE;
};
template <> struct TypeOf<const char *> {
	static constexpr hotpatch_type value = HOTPATCH_CSTRING;
};
template <> struct TypeOf<char *> {
	static constexpr hotpatch_type value = HOTPATCH_CSTRING;
};

/* signed char to long long: by size and sign, so that long and long long are both right everywhere. */
template <typename T> constexpr hotpatch_type IntegerType()
{
	return std::is_signed<T>::value ? (sizeof(T) == 1   ? HOTPATCH_INT8
					   : sizeof(T) == 2 ? HOTPATCH_INT16
					   : sizeof(T) == 4 ? HOTPATCH_INT32
							    : HOTPATCH_INT64)
					: (sizeof(T) == 1   ? HOTPATCH_UINT8
					   : sizeof(T) == 2 ? HOTPATCH_UINT16
					   : sizeof(T) == 4 ? HOTPATCH_UINT32
							    : HOTPATCH_UINT64);
}

template <typename T> struct HasType {
	static constexpr bool value = std::is_same<T, bool>::value || std::is_same<T, char>::value ||
				      std::is_same<T, float>::value || std::is_same<T, double>::value ||
				      std::is_same<T, const char *>::value || std::is_same<T, char *>::value;
};

inline size_t GetString(const void *variable, char *out, size_t size)
{
	const std::string &s = *static_cast<const std::string *>(variable);
	std::memcpy(out, s.data(), s.size() < size ? s.size() : size);
	return s.size();
}

inline int SetString(void *variable, const char *value, size_t len)
{
	static_cast<std::string *>(variable)->assign(value, len);
	return 0;
}

} // namespace detail

inline std::string LastError()
{
	return hotpatch_last_error();
}

inline bool InitHotpatchServer()
{
	return hotpatch_start() == 0;
}

inline void ShutdownHotpatchServer()
{
	hotpatch_stop();
}

/* ---- variables: name, pointer to something that stays where it is ---- */

inline bool RegisterVariable(const std::string &name, std::string *variable)
{
	static const hotpatch_accessor accessor = {HOTPATCH_STRING, detail::GetString, detail::SetString};
	return hotpatch_register_accessor(name.c_str(), &accessor, variable) == 0;
}

template <typename T>
typename std::enable_if<detail::HasType<T>::value, bool>::type RegisterVariable(const std::string &name, T *variable)
{
	return hotpatch_register_variable(name.c_str(), detail::TypeOf<T>::value, variable) == 0;
}

template <typename T>
typename std::enable_if<std::is_integral<T>::value && !detail::HasType<T>::value, bool>::type
RegisterVariable(const std::string &name, T *variable)
{
	return hotpatch_register_variable(name.c_str(), detail::IntegerType<T>(), variable) == 0;
}

template <size_t N> bool RegisterVariable(const std::string &name, char (*array)[N])
{
	return hotpatch_register_chars(name.c_str(), *array, N) == 0;
}

/* As in the first HotPatch: what it points to is what the request says. */
inline bool RegisterVariable(const std::string &name, void *variable)
{
	return hotpatch_register_variable(name.c_str(), HOTPATCH_UNTYPED, variable) == 0;
}

/* ---- functions ---- */

inline bool RegisterFunction(const std::string &name, void *function)
{
	return hotpatch_register_function(name.c_str(), function) == 0;
}

template <typename R, typename... A> bool RegisterFunction(const std::string &name, R (*function)(A...))
{
	return hotpatch_register_function(name.c_str(), reinterpret_cast<void *>(function)) == 0;
}

/* ---- the classes of the first HotPatch ---- */

/* Commands, run here and now.  The maps that it was once made of are the agent's own business. */
class HotpatchCommand
{
      public:
	HotpatchCommand() = default;
	HotpatchCommand(std::map<std::string, void *> &variables, std::map<std::string, void *> &libraries,
			std::map<std::string, void *> &handles, std::map<std::string, void *> &functions)
	{
		(void)libraries;
		(void)handles;
		for (auto &v : variables)
			hotpatch::RegisterVariable(v.first, v.second);
		for (auto &f : functions)
			hotpatch::RegisterFunction(f.first, f.second);
	}

	bool ParseCommand(const std::string &line)
	{
		lines_.clear();
		return hotpatch_run(line.c_str(), AddLine, &lines_) == 0;
	}
	bool HandleCommand(const std::vector<std::string> &words)
	{
		std::string line;
		for (const std::string &word : words)
			line += (line.empty() ? "" : " ") + Quoted(word);
		return ParseCommand(line);
	}
	bool HandleGflagsList()
	{
		return HandleCommand({"gflags", "list"});
	}
	bool HandleGflagsGet(const std::string &name)
	{
		return HandleCommand({"gflags", "get", name});
	}
	bool HandleGflagsSet(const std::string &name, const std::string &value)
	{
		return HandleCommand({"gflags", "set", name, value});
	}
	bool HandleVarList()
	{
		return HandleCommand({"var", "list"});
	}
	bool HandleVarGet(const std::string &type, const std::string &name)
	{
		return HandleCommand({"var", "get", type, name});
	}
	bool HandleVarSet(const std::string &type, const std::string &name, const std::string &value)
	{
		return HandleCommand({"var", "set", type, name, value});
	}
	bool HandleLibList()
	{
		return HandleCommand({"lib", "list"});
	}
	bool HandleLibLoad(const std::string &name, const std::string &path)
	{
		return HandleCommand({"lib", "load", name, path});
	}
	bool HandleLibUnload(const std::string &name)
	{
		return HandleCommand({"lib", "unload", name});
	}
	bool HandleFuncUpgrade(const std::string &library, const std::string &function)
	{
		return HandleCommand({"func", "upgrade", library, function});
	}
	bool HandleFuncRollback(const std::string &function)
	{
		return HandleCommand({"func", "rollback", function});
	}

	/* What the last command answered. */
	const std::vector<std::string> &Lines() const
	{
		return lines_;
	}

      private:
	static void AddLine(const char *line, void *arg)
	{
		static_cast<std::vector<std::string> *>(arg)->push_back(line);
	}
	static std::string Quoted(const std::string &word)
	{
		std::string out = "\"";
		for (char c : word) {
			if (c == '"' || c == '\\')
				out += '\\';
			out += c;
		}
		return out + "\"";
	}

	std::vector<std::string> lines_;
};

class HotpatchServer
{
      public:
	HotpatchServer() : command_(std::make_shared<HotpatchCommand>())
	{
	}
	~HotpatchServer()
	{
		Close();
	}
	HotpatchServer(const HotpatchServer &) = delete;
	HotpatchServer &operator=(const HotpatchServer &) = delete;

	void Init()
	{
		running_ = InitHotpatchServer();
	}
	void Close()
	{
		if (running_)
			ShutdownHotpatchServer();
		running_ = false;
	}
	template <typename T> void RegisterVariable(const std::string &name, T *variable)
	{
		hotpatch::RegisterVariable(name, variable);
	}
	template <typename F> void RegisterFunction(const std::string &name, F function)
	{
		hotpatch::RegisterFunction(name, function);
	}
	bool GetShouldStop() const
	{
		return !running_;
	}
	void SetShouldStop(bool stop)
	{
		if (stop)
			Close();
	}
	std::shared_ptr<HotpatchCommand> GetHotpathCommand()
	{
		return command_;
	} /* its name, as it was */
	std::shared_ptr<HotpatchCommand> GetHotpatchCommand()
	{
		return command_;
	}

      private:
	std::shared_ptr<HotpatchCommand> command_;
	bool running_ = false;
};

} // namespace hotpatch

#endif
