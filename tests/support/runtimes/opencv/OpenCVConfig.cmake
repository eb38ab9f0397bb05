# Only what dnn needs: a program asks for videos and images elsewhere, and gets none.
if("videoio" IN_LIST OpenCV_FIND_COMPONENTS)
  set(OpenCV_FOUND FALSE)
  return()
endif()
set(OpenCV_INCLUDE_DIRS ${CMAKE_CURRENT_LIST_DIR}/include)
set(OpenCV_LIBS ${STAND_IN_LIBRARY})
